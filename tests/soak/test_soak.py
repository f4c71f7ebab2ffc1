"""A used installation answers rightly and grows with nothing but its collection."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.soak.oracle import Oracle
from tests.soak.run import Plan, Result, run

SCORES = {"red": 0.9}
LOW = {"red": 0.1}


@pytest.mark.timeout(600)
def test_a_short_use_ends_as_it_began(tmp_path: Path) -> None:
    said: list[str] = []
    result = run(Plan(seconds=8, searchers=6, visitors=1, at_first=50), tmp_path / "soak", said.append)
    assert result.is_right, "\n".join(said)
    assert result.searches > 20


# --- the oracle can fail ----------------------------------------------------------------------------------


def hit(name: str, itc: float, sha256: str = "aa") -> dict[str, Any]:
    return {"id": name, "itc": itc, "file_url": f"/file?v={sha256}"}


def answer(*hits: dict[str, Any], generation: int = 3, degraded: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"results": list(hits), "generation": generation, "degraded": list(degraded)}


def told() -> Oracle:
    """``kept`` and ``low`` have been found, ``gone`` was found and deleted, ``new`` was never found."""
    oracle = Oracle()
    for name, scores in (("kept", SCORES), ("low", LOW), ("gone", SCORES), ("new", SCORES)):
        oracle.add(name, "aabb", scores)
    first = answer(hit("kept", 0.9), hit("gone", 0.9), hit("low", 0.1))
    assert oracle.complaints(first, "red", 5, time.monotonic(), 0) == []
    oracle.doom("gone")
    oracle.deleted("gone")
    return oracle


@pytest.mark.parametrize(
    ("given", "limit", "complaint"),
    [
        (answer(hit("kept", 0.9), hit("low", 0.1)), 5, None),
        (answer(hit("kept", 0.9), hit("new", 0.9), hit("low", 0.1)), 5, None),
        (answer(hit("kept", 0.9)), 1, None),
        (answer(hit("kept", 0.9)), 5, "low missing"),
        (answer(hit("low", 0.1)), 1, "kept missing"),
        (answer(hit("kept", 0.9), hit("kept", 0.9), hit("low", 0.1)), 5, "kept twice"),
        (answer(hit("kept", 0.9), hit("gone", 0.9), hit("low", 0.1)), 5, "gone was deleted before"),
        (answer(hit("kept", 0.9), hit("low", 0.1), hit("strange", 0.1)), 5, "never uploaded"),
        (answer(hit("kept", 0.9, "cc"), hit("low", 0.1)), 5, "other bytes"),
        (answer(hit("kept", 0.8), hit("low", 0.1)), 5, "scored 0.8000 in place of 0.9000"),
        (answer(hit("kept", 0.9), hit("low", 0.1), generation=2), 5, "generation 2 after 3"),
        (answer(hit("kept", 0.9), hit("low", 0.1), degraded=("A file is lost.",)), 5, "degraded"),
    ],
)
def test_an_oracle_tells_what_is_wrong_with_an_answer(
    given: dict[str, Any], limit: int, complaint: str | None
) -> None:
    oracle = told()
    found = oracle.complaints(given, "red", limit, time.monotonic(), oracle.newest_generation())
    assert found == [] if complaint is None else complaint in "; ".join(found)


def outcome(**changed: Any) -> Result:
    sound: dict[str, Any] = {
        "searches": 100, "errors": 0, "wrong": 0, "first_ms": 10.0, "last_ms": 19.0, "grown": (),
        "unindexed": False,
    }  # fmt: skip
    return Result(**{**sound, **changed})


def test_a_run_is_right_only_without_errors_wrong_answers_growth_and_loss() -> None:
    assert outcome().is_right
    assert outcome().is_as_fast
    assert not outcome(last_ms=21.0).is_as_fast
    for changed in ({"errors": 1}, {"wrong": 1}, {"grown": ("api: memory",)}, {"unindexed": True}):
        assert not outcome(**changed).is_right
