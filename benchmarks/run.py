"""``make bench``: every speed benchmark, at full size; prints Markdown and writes ``build/bench.json``.

``python -m benchmarks.run [--only rerank,embed] [--small]``. Each module is also a program of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measuring import Section, machine

MODULES = ("rerank", "blip", "captions", "embed", "pipeline", "serving", "http_overhead", "cache", "cascade")
OUT = Path("build/bench.json")


def markdown(section: Section) -> str:
    """One section as a table with its remarks."""
    lines = [f"## {section.title}", "", "| | ours | instead | ratio | goal |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.ours} | {row.theirs} | {row.ratio} | {row.goal} |" for row in section.rows
    ]
    lines += ["", *(f"- {note}" for note in section.notes), *(f"- ![]({plot})" for plot in section.plots)]
    return "\n".join(lines) + "\n"


def as_json(section: Section) -> dict[str, Any]:
    """One section for a program."""
    return {
        "title": section.title,
        "rows": [asdict(row) for row in section.rows],
        "notes": section.notes,
        "plots": [str(plot) for plot in section.plots],
    }


def run_apart(name: str, full: bool, folder: Path) -> dict[str, Any]:
    """One benchmark in a process of its own: what it leaves in memory and in threads hits no other.

    Returns its figures and section; raises RuntimeError when it failed.
    """
    result = folder / f"bench-{name}.json"
    result.unlink(missing_ok=True)
    size = [] if full else ["--small"]
    finished = subprocess.run([sys.executable, "-m", "benchmarks.run", "--inside", name, *size], check=False)
    if finished.returncode or not result.exists():
        raise RuntimeError(f"The benchmark {name} ended with status {finished.returncode}.")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def run_inside(name: str, full: bool, folder: Path) -> None:
    """Run one benchmark here, print it, leave its result in a file."""
    section: Section = importlib.import_module(f"benchmarks.{name}").run(full)
    print(markdown(section), flush=True)
    found = {"figures": section.figures, "section": as_json(section)}
    (folder / f"bench-{name}.json").write_text(json.dumps(found, indent=2))


def run_all(names: list[str], full: bool, out: Path) -> int:
    """All of them, one after the other; how many failed."""
    figures: dict[str, float] = {}
    sections, failed = [], []
    began = time.monotonic()
    for name in names:
        try:
            found = run_apart(name, full, out.parent)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed.append(name)
            continue
        figures |= found["figures"]
        sections.append(found["section"])
    whole = {
        **figures,
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "full_size": full,
        "failed": failed,
        "seconds": round(time.monotonic() - began, 1),
        "sections": sections,
    }
    out.write_text(json.dumps(whole, indent=2) + "\n")
    print(f"{len(figures)} figures in {out}")
    return len(failed)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--only", default=",".join(MODULES), help=f"some of {', '.join(MODULES)}")
    parser.add_argument(
        "--small", action="store_true", help="a smoke test: seconds, and figures that mean nothing"
    )
    parser.add_argument("--inside", choices=MODULES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    if given.inside:
        run_inside(given.inside, not given.small, OUT.parent)
        return
    names = given.only.split(",")
    unknown = sorted(set(names) - set(MODULES))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; choose from {', '.join(MODULES)}")
    sys.exit(1 if run_all(names, not given.small, OUT) else 0)


if __name__ == "__main__":
    main()
