"""How our own source is written, where a linter has no rule for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline import errors

ROOT = Path(__file__).parents[1]
CHECKED = ("api", "captioner", "demo", "indexer", "reranker", "retriever", "sightline")
"""The folders that keep to it; what is linked into one of them is checked where it lies."""

MESSAGE_AT = {name: 0 for name, kind in vars(errors).items() if isinstance(kind, type)} | {
    "ImageRejected": 1, "Problem": 1, "invalid": 1, "UploadTooLarge": 0, "_refuse": 0,
    "FileMissingError": 0, "TrainingDivergedError": 0, "SourceProblem": 3, "DataProblem": 2,
}  # fmt: skip
"""What is called with a message for a person, and as which argument."""

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def sources(folder: str) -> list[Path]:
    """The Python files of a folder, without those of the folders that are linked into it."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in paths if path.resolve().is_relative_to(ROOT.resolve() / folder)]


def messages(tree: ast.Module) -> Iterator[tuple[ast.expr, Scope]]:
    """(message, scope) wherever the message is written in the call or in the same scope."""
    for call, scopes in calls(tree, (tree,)):
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        place = MESSAGE_AT.get(name)
        if place is not None and place < len(call.args):
            for scope in scopes[1:] or scopes:
                for text in written(call.args[place], scope):
                    yield text, scope


def calls(node: ast.AST, scopes: tuple[Scope, ...]) -> Iterator[tuple[ast.Call, tuple[Scope, ...]]]:
    """Every call below a node, with the module and all functions around it."""
    if isinstance(node, ast.Call):
        yield node, scopes
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        scopes = (*scopes, node)
    for child in ast.iter_child_nodes(node):
        yield from calls(child, scopes)


def written(value: ast.expr, scope: Scope) -> Iterator[ast.expr]:
    """The literals and f-strings that an expression may be."""
    if isinstance(value, ast.IfExp):
        yield from written(value.body, scope)
        yield from written(value.orelse, scope)
    elif isinstance(value, ast.Name):
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and value.id in map(ast.unparse, node.targets):
                yield from written(node.value, scope) if not isinstance(node.value, ast.Name) else ()
    elif isinstance(value, ast.JoinedStr) or isinstance(getattr(value, "value", None), str):
        yield value


def begins_with_a_capital(text: ast.expr) -> bool:
    """Whether it does, as far as it is written down: what is filled in may be a name."""
    first = text.values[0] if isinstance(text, ast.JoinedStr) else text
    return isinstance(first, ast.FormattedValue) or str(getattr(first, "value", ""))[:1].isupper()


def ends_with_a_full_stop(text: ast.expr, scope: Scope) -> bool:
    """Whether it does. It may go on with something filled in, or end with what another error of ours says."""
    parts = list(text.values) if isinstance(text, ast.JoinedStr) else [text]
    last = parts.pop()
    if isinstance(last, ast.FormattedValue):
        filled = ast.unparse(last.value)
        if filled.endswith(".detail") or filled in own_errors(scope):
            return True
        last = parts.pop() if parts else last
    said = str(getattr(last, "value", "")).strip()
    return not said or said.endswith(".")


def own_errors(scope: Scope) -> set[str]:
    """The names that every handler of a scope gives to errors of the one tree only."""
    own: set[str] = set()
    foreign: set[str] = set()
    for handler in ast.walk(scope):
        if isinstance(handler, ast.ExceptHandler) and handler.name and handler.type:
            kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            ours = all(ast.unparse(kind).rpartition(".")[2] in MESSAGE_AT for kind in kinds)
            (own if ours else foreign).add(handler.name)
    return own - foreign


def documented(node: ast.AST) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """What may have a docstring, in a tree; no expression holds any of it."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield from documented(child)


def torn_summaries(source: str) -> list[str]:
    """Docstrings whose first sentence is one long line that leaves a word or three for the next."""
    found = []
    for node in documented(ast.parse(source)):
        lines = (ast.get_docstring(node) or "").split("\n\n")[0].split("\n")
        if len(lines) == 2 and len(lines[1].split()) < 4:
            found.append(lines[1])
    return found


def complaints(source: str) -> list[str]:
    """Messages that do not begin with a capital and end with a full stop, each with its line."""
    found = []
    for text, scope in messages(ast.parse(source)):
        if not begins_with_a_capital(text) or not ends_with_a_full_stop(text, scope):
            found.append(f"{text.lineno}: {ast.unparse(text)}")
    return sorted(set(found))


@pytest.mark.parametrize("folder", CHECKED)
def test_messages_begin_with_a_capital_and_end_with_a_full_stop(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{said}"
        for path in sources(folder)
        for said in complaints(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("folder", CHECKED)
def test_summaries_are_not_torn(folder: str) -> None:
    found = [f"{path.relative_to(ROOT)}: {line}" for path in sources(folder)
             for line in torn_summaries(path.read_text())]  # fmt: skip
    assert found == []


@pytest.mark.parametrize(
    ("source", "fine"),
    [
        ("raise InputError('The text is empty.')", True),
        ("raise InputError('the text is empty.')", False),
        ("raise InputError('The text is empty')", False),
        ("raise errors.InputError(f'{name} is empty.')", True),
        ("raise InputError(f'This is empty: {name}')", False),
        ("raise InputError('Fine.' if good else 'Not fine')", False),
        ("def f():\n    detail = 'not fine.'\n    return Problem(401, detail)", False),
        ("raise Problem(401, 'Not without a key.')", True),
        ("raise ImageRejected('empty', 'The file has no bytes.')", True),
        ("raise ImageRejected('empty', 'the file has no bytes.')", False),
        ("raise ImageRejected('empty', 'The file has no bytes')", False),
        ("def f():\n    try: g()\n    except InputError as error: raise InputError(f'Row 3: {error}')", True),
        ("def f():\n    try: g()\n    except OSError as error: raise InputError(f'Row 3: {error}')", False),
        ("raise InputError(f'Document 3 is no picture: {error.detail}')", True),
        ("raise InputError(f'The folder lacks a file.{hint}')", True),
        ("raise FilterError(str(error))", True),
    ],
)
def test_the_check_can_fail(source: str, fine: bool) -> None:
    assert (complaints(source) == []) is fine


def test_the_check_of_summaries_can_fail() -> None:
    assert torn_summaries('def f():\n    """What this does is too long for one\n    line."""') == ["line."]
    assert torn_summaries('def f():\n    """What this does.\n\n    Why."""') == []


@pytest.mark.parametrize("folder", CHECKED)
def test_no_value_is_kept_under_a_lock_that_all_objects_share(folder: str) -> None:
    """`sightline.kept` and `sightline.lazy` are for that; functools' has such a lock in Python 3.11."""
    found = [str(path) for path in sources(folder) if "import cached_property" in path.read_text()]
    assert found == []
