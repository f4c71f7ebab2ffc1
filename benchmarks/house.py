"""The house itself, measured: files, functions, circles of imports, and the files that a search passes.

``python -m benchmarks.house [ROOT] [--search] [--json]``. The source of ROOT is read with ``ast`` and none of
it imported, so that any checkout can be measured; ``--search`` runs ROOT's code instead
(`benchmarks.house_search`). What an installation brings is read from ROOT's pyproject.toml; tests,
benchmarks, docs and the demo's training are left out.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.house_search import measure_search

HERE = Path(__file__).parents[1]
LONG_FILE = 300
LEFT_OUT = ("training.demo", "training.world")
"""The training of the shipped model, where a checkout has it inside a package."""

Graph = dict[str, set[str]]
"""Name → the names that it imports."""


@dataclass(frozen=True)
class House:
    """What can be read from the source."""

    import_names: list[str]
    """Top-level names that an installation brings."""
    files: int
    mean_lines: float
    long_files: list[str]
    """Modules of more than LONG_FILE lines."""
    functions: int
    function_lines_median: float
    function_lines_p90: float
    function_lines_longest: int
    module_circles: list[list[str]]
    """Strongly connected components of more than one module; imports for type checking count."""
    sibling_circles: list[list[str]]
    """The same among the children of one package, each child with everything below it."""


def measure(root: Path) -> House:
    """Read a checkout."""
    names = import_names(root)
    modules = {name: path for top in names for name, path in _modules(root / top, top)}
    trees = {name: ast.parse(path.read_text()) for name, path in modules.items()}
    packages = {name for name, path in modules.items() if path.name == "__init__.py"}
    lines = {name: len(path.read_text().splitlines()) for name, path in modules.items()}
    spans = sorted(span for tree in trees.values() for span in _function_lines(tree))
    graph = {name: _imports(name, tree, trees, packages) for name, tree in trees.items()}
    return House(
        import_names=names,
        files=len(modules),
        mean_lines=round(statistics.mean(lines.values()), 1),
        long_files=sorted(name for name, count in lines.items() if count > LONG_FILE),
        functions=len(spans),
        function_lines_median=statistics.median(spans),
        function_lines_p90=statistics.quantiles(spans, n=10)[-1],
        function_lines_longest=spans[-1],
        module_circles=circles(graph),
        sibling_circles=[circle for siblings in _families(graph) for circle in circles(siblings)],
    )


def import_names(root: Path) -> list[str]:
    """The top-level packages of the wheel."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    return sorted(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def _modules(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of a package; a linked folder is the package that links to it."""
    for path in sorted(folder.iterdir()):
        inner = f"{name}.{path.stem}"
        if inner in LEFT_OUT:
            continue
        if path.suffix == ".py":
            yield (name if path.name == "__init__.py" else inner), path
        elif path.is_dir() and (path / "__init__.py").exists():
            yield from _modules(path, inner)


def _function_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def _imports(name: str, tree: ast.Module, known: Mapping[str, object], packages: set[str]) -> set[str]:
    """The known modules that a module names in an import, at any depth of the source."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {_nearest(alias.name, known) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _source(name, node, name in packages)
            found |= {_nearest(f"{source}.{alias.name}", known) for alias in node.names}
    return found - {"", name}


def _source(name: str, node: ast.ImportFrom, is_package: bool) -> str:
    """The absolute module of ``from … import``."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    parent = parts[: len(parts) - node.level + is_package]
    return ".".join([*parent, *([node.module] if node.module else [])])


def _nearest(name: str, known: Mapping[str, object]) -> str:
    """The module itself, or the one that holds the name; empty for a foreign one."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def _families(graph: Graph) -> Iterator[Graph]:
    """For every package (and for the top level), its children and which of them import which."""
    parents = {name.rpartition(".")[0] for name in graph}
    ancestors = {".".join(parent.split(".")[:depth]) for parent in parents for depth in range(99)}
    for package in sorted(ancestors):
        siblings: Graph = {}
        for name, imported in graph.items():
            child = _child(package, name)
            others = {_child(package, one) for one in imported} - {"", child}
            if child:
                siblings.setdefault(child, set()).update(others)
        yield siblings


def _child(package: str, name: str) -> str:
    """The child of ``package`` that holds the module ``name``; empty when none does."""
    if package and not name.startswith(f"{package}."):
        return ""
    depth = len(package.split(".")) + 1 if package else 1
    return ".".join(name.split(".")[:depth])


def circles(graph: Graph) -> list[list[str]]:
    """Strongly connected components of more than one name: whoever reaches me and is reached by me."""
    reached = {name: _reachable(graph, name) for name in graph}
    found = {frozenset(o for o in reached[name] if name in reached.get(o, ())) for name in graph}
    return sorted(sorted(circle) for circle in found if len(circle) > 1)


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead.extend(graph.get(name, ()))
    return seen


def markdown(house: House) -> Iterable[str]:
    """The static figures for people."""
    yield f"| import names of an installation | {len(house.import_names)}: {', '.join(house.import_names)} |"
    yield "|---|---|"
    yield f"| files; mean lines | {house.files}; {house.mean_lines} |"
    yield f"| files over {LONG_FILE} lines | {len(house.long_files)} |"
    lengths = f"{house.function_lines_median:g}, {house.function_lines_p90:g}, {house.function_lines_longest}"
    yield f"| functions; lines of the median, 90th percentile, longest | {house.functions}; {lengths} |"
    for kind, found in (("modules", house.module_circles), ("siblings", house.sibling_circles)):
        yield f"| circles of {kind} | {len(found)} |"
        yield from (f"| … | {', '.join(circle)} |" for circle in found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house")
    parser.add_argument("root", nargs="?", type=Path, default=HERE, help="the checkout to measure")
    parser.add_argument("--search", action="store_true", help="the files of one warm search instead")
    parser.add_argument("--json", action="store_true", help="for a program")
    given = parser.parse_args()
    root = given.root.resolve()
    if given.search:
        found = measure_search(root)
        counts = "\n".join(f"{way}: {len(files)} files" for way, files in found.items())
        print(json.dumps(found, indent=2) if given.json else counts)
    else:
        house = measure(root)
        print(json.dumps(asdict(house), indent=2) if given.json else "\n".join(markdown(house)))


if __name__ == "__main__":
    main()
