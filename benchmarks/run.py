"""``make bench``: every speed benchmark, at full size, within 30 minutes; Markdown, and ``build/bench.json``.

``python -m benchmarks.run [--only rerank,embed] [--small] [--minutes 28] [--class]``. Each module is also a
program of its own. What the figures are is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.apart import Outcome, inside, run_apart
from benchmarks.goals import as_json as goals_as_json
from benchmarks.goals import judge, table
from benchmarks.machine import machine, these_warnings, this_processor
from benchmarks.measuring import Section

BUDGETS: Final[Mapping[str, float]] = {
    "rerank": 185.0,
    "cascade": 180.0,
    "auto": 210.0,
    "embed": 150.0,
    "blip": 145.0,
    "cache": 85.0,
    "captions": 95.0,
    "pipeline": 60.0,
    "serving": 95.0,
    "http_overhead": 65.0,
    "scale": 430.0,
}
"""Seconds of each module, in their order; 1,700 in all, so that 30 minutes hold them and their starts."""
OUT: Final = Path("build/bench.json")


@dataclass
class Results:
    """What there is by now; written after every module."""

    full: bool
    machine: dict[str, str]
    warnings: list[str]
    began: float = field(default_factory=time.monotonic)
    figures: dict[str, float] = field(default_factory=dict)
    sections: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """By module, a sentence."""
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, outcome: Outcome) -> None:
        """One module's."""
        self.figures |= outcome.figures
        if outcome.failed:
            print(outcome.failed, file=sys.stderr, flush=True)
            self.failed[name] = outcome.failed
        if outcome.section is not None:
            self.sections.append(outcome.section)
            if outcome.section["skipped"]:
                self.skipped[name] = outcome.section["skipped"]

    def write(self, out: Path) -> None:
        """All of it, in one step."""
        whole = {
            **self.figures,
            "goals": goals_as_json(judge(self.figures, self.machine["goals"])),
            "machine": self.machine,
            "warnings": self.warnings,
            "date": time.strftime("%Y-%m-%d"),
            "full_size": self.full,
            "failed": self.failed,
            "skipped": self.skipped,
            "seconds": round(time.monotonic() - self.began, 1),
            "sections": self.sections,
        }
        aside = out.with_name(f"{out.name}.{os.getpid()}")
        aside.write_text(json.dumps(whole, indent=2) + "\n")
        aside.replace(out)


def markdown(section: Section) -> str:
    """One section as a table with its remarks."""
    lines = [f"## {section.title}", "", "| | ours | instead | ratio | goal |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.ours} | {row.theirs} | {row.ratio} | {row.goal} |" for row in section.rows
    ]
    lines += ["", *(f"- {note}" for note in section.notes), *(f"- skipped: {one}" for one in section.skipped)]
    return "\n".join([*lines, *(f"- ![]({plot})" for plot in section.plots)]) + "\n"


def as_json(section: Section) -> dict[str, Any]:
    """One section for a program."""
    return {
        "title": section.title,
        "rows": [asdict(row) for row in section.rows],
        "notes": section.notes,
        "skipped": section.skipped,
        "plots": [str(plot) for plot in section.plots],
    }


def run_inside(name: str, full: bool, folder: Path) -> None:
    """Run one benchmark here, print it, leave its result in a file."""
    section: Section = importlib.import_module(f"benchmarks.{name}").run(full)
    print(markdown(section), flush=True)
    found = {"figures": section.figures, "section": as_json(section)}
    aside = folder / f"bench-{name}.json.{os.getpid()}"
    aside.write_text(json.dumps(found, indent=2))
    aside.replace(folder / f"bench-{name}.json")


def allowance(name: str, ahead: Sequence[str], left: float) -> float:
    """Seconds for ``name``: of what is left its part beside those ahead, so that saved time goes to them."""
    return left * BUDGETS[name] / (BUDGETS[name] + sum(BUDGETS[one] for one in ahead))


Command = Callable[[str, bool], Sequence[str]]
"""The command of a benchmark, in full size or small."""


def run_all(
    names: Sequence[str], full: bool, out: Path, seconds: float, command: Command = inside
) -> Results:
    """All of them, one after the other, in so much time; ends early at Ctrl-C."""
    results = Results(full, machine(), these_warnings())
    print(f"On {results.machine['class']}.", *results.warnings, sep="\n", flush=True)
    ends = time.monotonic() + seconds
    for place, name in enumerate(names):
        given = allowance(name, names[place + 1 :], max(0.0, ends - time.monotonic()))
        print(f"\n# {name}: at most {given:.0f} s", flush=True)
        outcome = run_apart(name, command(name, full), given, out.parent)
        results.add(name, outcome)
        results.write(out)
        if outcome.interrupted:
            results.failed |= {one: f"The benchmark {one} did not begin." for one in names[place + 1 :]}
            results.write(out)
            break
    return results


def report(results: Results, out: Path) -> None:
    """Goals, and what is not there."""
    print(table(judge(results.figures, results.machine["goals"]), results.machine["class"]))
    for name, sentences in results.skipped.items():
        print(*(f"- {name} skipped: {sentence}" for sentence in sentences), sep="\n")
    print(*(f"- {sentence}" for sentence in results.failed.values()), sep="\n")
    print(f"{len(results.figures)} figures in {out}")


def _arguments() -> argparse.Namespace:
    known = ", ".join(BUDGETS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--only", default=",".join(BUDGETS), help=f"some of {known}")
    parser.add_argument(
        "--small", action="store_true", help="a smoke test: seconds, and figures that mean nothing"
    )
    parser.add_argument("--minutes", type=float, help="for all together; else what they are planned with")
    parser.add_argument("--class", action="store_true", dest="kind", help="print the class of this machine")
    parser.add_argument("--inside", choices=BUDGETS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = sorted(set(given.only.split(",")) - set(BUDGETS))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; choose from {known}")
    return given


def main() -> None:
    """Command line; status 1 when a benchmark failed. A goal that was missed is no failure."""
    given = _arguments()
    if given.kind:
        print(this_processor().kind, *these_warnings(), sep="\n")
        return
    OUT.parent.mkdir(parents=True, exist_ok=True)
    if given.inside:
        run_inside(given.inside, not given.small, OUT.parent)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs is ended with this
    names = given.only.split(",")
    seconds = 60 * given.minutes if given.minutes else sum(BUDGETS[name] for name in names)
    results = run_all(names, not given.small, OUT, seconds)
    report(results, OUT)
    sys.exit(1 if results.failed else 0)


if __name__ == "__main__":
    main()
