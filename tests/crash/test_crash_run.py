"""The command line as users run it, with its processes killed: nothing is lost, nothing is found twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.ledger import Ledger
from tests.crash.run import Plan, run


@pytest.mark.timeout(600)
def test_six_kills_of_a_used_installation_lose_double_and_invent_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    result = run(Plan("sqlite", seconds=60, seed=6, every=1.0, kills=6), tmp_path / "sqlite", said.append)
    assert result.sound, "\n".join(said)
    assert result.kills == 6
    assert result.verdict.kept > 20
    assert said[-1] == f"kept {result.verdict.kept} lost 0 duplicated 0 phantom 0"


@pytest.mark.long
@pytest.mark.services
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("setup", ["sqlite", "postgres-redis", "postgres-rabbitmq"])
def test_a_minute_of_every_violence(setup: str, tmp_path: Path) -> None:
    said: list[str] = []
    plan = Plan(setup, seconds=60, seed=1, services=True, faults=True)
    assert run(plan, tmp_path / setup, said.append).sound, "\n".join(said)


# --- the oracle can fail ----------------------------------------------------------------------------------


def told() -> Ledger:
    ledger = Ledger()
    ledger.begin({"kept": "1", "gone": "2", "new": "3"})
    ledger.done({"kept": "1", "gone": "2", "new": "3"})
    ledger.begin({"gone": None})
    ledger.done({"gone": None})
    ledger.begin({"new": "4"})
    ledger.done({"new": "4"})
    ledger.begin({"doubtful": "5"})
    return ledger


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([("kept", "1"), ("new", "4")], "kept 3 lost 0 duplicated 0 phantom 0"),
        ([("kept", "1"), ("new", "4"), ("doubtful", "5")], "kept 3 lost 0 duplicated 0 phantom 0"),
        ([("new", "4")], "kept 1 lost 1 duplicated 0 phantom 0"),
        ([("kept", "1"), ("kept", "1"), ("new", "4")], "kept 2 lost 0 duplicated 1 phantom 0"),
        ([("kept", "1"), ("new", "4"), ("gone", "2")], "kept 2 lost 0 duplicated 0 phantom 1"),
        ([("kept", "1"), ("new", "3")], "kept 1 lost 1 duplicated 0 phantom 1"),
        ([("kept", "1"), ("new", "4"), ("stranger", "9")], "kept 2 lost 0 duplicated 0 phantom 1"),
    ],
)
def test_a_ledger_tells_what_is_lost_doubled_and_invented(found: list[tuple[str, str]], said: str) -> None:
    expected = said.replace("kept 3", "kept 2") if ("doubtful", "5") not in found else said
    assert str(told().verdict(found)) == expected


def test_a_ledger_knows_what_came_and_went_meanwhile() -> None:
    ledger = told()
    steps = ledger.steps()
    for content in ("6", None):
        ledger.begin({"short": content})
        ledger.done({"short": content})
    assert ledger.now()["short"].meanwhile == {None}
    assert ledger.since(steps) == {"short": {None, "6"}}


def test_a_ledger_outlives_who_wrote_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.begin({"kept": "1"})
    ledger.done({"kept": "1"})
    ledger.begin({"kept": None})
    assert Ledger(tmp_path / "ledger").entries["kept"].allowed == {"1", None}
