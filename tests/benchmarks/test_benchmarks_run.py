"""``make bench`` ends in time, ends what overstays, keeps what was measured, and judges it by its goals."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import goals
from benchmarks.apart import run_apart
from benchmarks.run import BUDGETS, allowance, run_all

FIGURE = """echo '{"seen": 1.5}' >> "$BENCH_FIGURES"; """
RESULT = """echo '{"figures": {"rerank_memory_mb": 401, "auto_r1_change": -0.004}, "section": {"title": "t",
"rows": [], "notes": [], "skipped": ["bf16: no units."], "plots": []}}' > "$0"; """


def shell(script: str, argument: object = "") -> list[str]:
    return ["sh", "-c", script, str(argument)]


def is_gone(pid: int) -> bool:
    """Ended, whether or not somebody has asked for its status."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_budgets_fit_into_half_an_hour() -> None:
    assert sum(BUDGETS.values()) <= 1700


def test_saved_time_goes_to_those_ahead_and_all_together_never_take_more() -> None:
    names, left = list(BUDGETS), 1700.0
    for place, name in enumerate(names):
        given = allowance(name, names[place + 1 :], left)
        assert given >= BUDGETS[name] - 1e-6
        left -= given * (0.5 if place % 2 else 1.0)
    assert allowance(names[-1], [], left) == pytest.approx(left)


def test_a_benchmark_that_overstays_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    command = shell(FIGURE + 'sleep 600 & echo $! > "$0"; wait', pids)
    outcome = run_apart("slow", command, 1.0, tmp_path, grace=0.0)
    assert outcome.failed == "The benchmark slow was ended: it took longer than its 1 seconds."
    assert outcome.figures == {"seen": 1.5}
    end = time.monotonic() + 20
    while not is_gone(int(pids.read_text())) and time.monotonic() < end:
        time.sleep(0.02)
    assert is_gone(int(pids.read_text()))


def test_ctrl_c_ends_a_benchmark_and_keeps_its_figures(tmp_path: Path) -> None:
    program = (
        "import signal, sys; from pathlib import Path; from benchmarks.apart import run_apart\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "found = run_apart('cut', ['sh', '-c', sys.argv[1]], 60, Path(sys.argv[2]))\n"
        "print(found.interrupted, found.figures, found.failed)"
    )
    script = FIGURE + "sleep 0.5; kill -INT $PPID; sleep 600"
    command = [sys.executable, "-c", program, script, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout == "True {'seen': 1.5} The benchmark cut was interrupted.\n"


def test_what_was_measured_is_kept_and_what_failed_is_named(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    seen: list[dict[str, object]] = []

    def command(name: str, full: bool) -> Sequence[str]:
        if out.exists():
            seen.append(json.loads(out.read_text()))
        good = name != "blip"
        return shell(RESULT if good else FIGURE + "exit 3", tmp_path / f"bench-{name}.json")

    results = run_all(["embed", "blip", "cache"], True, out, 60.0, command)
    whole = json.loads(out.read_text())
    assert [len(one["sections"]) for one in seen] == [1, 1]  # type: ignore[arg-type]
    assert whole["failed"] == {"blip": "The benchmark blip ended with status 3."} == results.failed
    assert whole["skipped"] == {"embed": ["bf16: no units."], "cache": ["bf16: no units."]}
    assert (whole["seen"], whole["rerank_memory_mb"], len(whole["sections"])) == (1.5, 401, 2)
    verdicts = {name: goal["verdict"] for name, goal in whole["goals"].items()}
    assert verdicts["rerank_memory_mb"] == "missed"
    assert verdicts["auto_r1_change"] == "passed"
    assert verdicts["embed_vs_stock"] == "not measured"
    assert whole["machine"]["class"]


@pytest.mark.parametrize(
    ("figure", "value", "old", "new"),
    [
        ("rerank_vs_lavis_loop", 6.0, "passed", "missed"),
        ("rerank_vs_lavis_loop", 5.99, "missed", "missed"),
        ("rerank_full_vs_lavis_loop", 7.0, "passed", "passed"),
        ("embed_vs_stock", 2.0, "passed", "missed"),
        ("cascade_r1_change", -0.0051, "missed", "missed"),
        ("rerank_memory_mb", 400.0, "passed", "passed"),
    ],
)
def test_a_goal_is_that_of_the_machines_class(figure: str, value: float, old: str, new: str) -> None:
    for kind, word in (("avx2", old), ("avx512_bf16", new)):
        (verdict,) = (one for one in goals.judge({figure: value}, kind) if one.goal.figure == figure)
        assert verdict.word == word
        assert f"| {word} |" in goals.table([verdict], "2 cores")
