"""A benchmark keeps within its time: fewer rounds, smaller products, and every figure told as it comes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.measuring import ENDS, FIGURES, Budget, Figures, Section, alternate, grown, product_side


class Clock:
    """Moves only when it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_a_budget_counts_down_to_nothing() -> None:
    clock = Clock()
    budget = Budget(110.0, clock)
    assert budget.enough_for(10.0)
    clock.work(4.0)
    assert (budget.left(), budget.enough_for(6.1), budget.part(0.5).left()) == (6.0, False, 3.0)
    clock.work(60.0)
    assert (budget.left(), budget.part(0.5).left()) == (0.0, 0.0)


def test_a_process_that_was_given_none_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDS, raising=False)
    assert Budget.given().left() == math.inf
    monkeypatch.setenv(ENDS, "0")
    assert Budget.given().left() == 0.0


@pytest.mark.parametrize(
    ("seconds", "runs", "measured"), [(1000, 4, 3), (45, 3, 2), (44, 2, 1), (35, 2, 1), (34, 1, 1), (1, 1, 1)]
)
def test_rounds_are_reduced_to_what_fits_and_one_is_always_measured(
    seconds: float, runs: int, measured: int
) -> None:
    """A round takes 10 s, the first is warm-up; another begins while there is time for two and a half."""
    clock = Clock()
    turns: list[str] = []

    def step(name: str, takes: float) -> None:
        turns.append(name)
        clock.work(takes)

    what = {"ours": lambda: step("ours", 1.0), "theirs": lambda: step("theirs", 9.0)}
    found = alternate(what, rounds=3, budget=Budget(clock.now + seconds, clock))
    assert turns == ["ours", "theirs"] * runs
    assert [len(one.seconds) for one in found.values()] == [measured] * 2


def test_a_product_grows_until_it_takes_long_enough_and_no_further() -> None:
    asked: list[int] = []

    def seconds(side: int) -> float:
        asked.append(side)
        return side**3 / 1e10

    assert grown(seconds, most=4096) == 1944
    assert asked == [256, 384, 576, 864, 1296, 1944]
    assert grown(lambda side: 0.0, most=1000) == 1000
    assert grown(lambda side: 60.0, most=4096) == 256  # a reference kernel is asked once
    assert product_side(torch.float32, most=64) == 64


def test_figures_are_told_and_kept_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FIGURES, str(tmp_path / "figures"))
    figures = Figures()
    figures["one"] = 1.5
    figures |= {"two": 2.0}
    assert figures == {"one": 1.5, "two": 2.0}
    assert capsys.readouterr().out == "one 1.5\ntwo 2\n"
    assert [json.loads(line) for line in (tmp_path / "figures").read_text().splitlines()] == [
        {"one": 1.5},
        {"two": 2.0},
    ]


def test_what_is_skipped_is_said_at_once_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    section = Section("Speed")
    section.skip("bf16: this machine has no units for it.")
    assert capsys.readouterr().out == "skipped: bf16: this machine has no units for it.\n"
    assert section.skipped == ["bf16: this machine has no units for it."]
