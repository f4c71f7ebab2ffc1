"""Clocks that jump by three hours, forward and back, in one process or in all, in the middle of work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.actors import Notes
from tests.crash.installation import Installation, wait_until
from tests.crash.run import READY_SECONDS, Plan, Users, answers
from tests.crash.shim import library

HOURS = 3 * 3600
FOUND_SECONDS = 60.0
ENLARGED = 120
"""960 pixels a side: a batch takes longer than a pass of the builder."""
Jump = tuple[str, int]
SHORT: list[Jump] = [("all", -HOURS)]
LONG: list[Jump] = [(who, way) for who in ("builder", "worker", "api", "all") for way in (HOURS, -HOURS)]


def brought(users: Users, enlarged: int) -> None:
    """Nine pictures come, one of them is replaced and another one deleted."""
    client, ledger = users.clients["uploads"], users.ledgers["uploads"]
    first = len(ledger.entries)
    names = [f"{number:04d}.png" for number in range(first, first + 9)]
    for some in (names, names[:1]):
        made = {name: users.pictures.new(enlarged) for name in some}
        changes = {name: sha256 for name, (sha256, _) in made.items()}
        ledger.begin(changes)
        assert client.upload({name: data for name, (_, data) in made.items()}) == "done"
        ledger.done(changes)
    ledger.begin({names[1]: None})
    assert client.delete(names[1]) == "done"
    ledger.done({names[1]: None})


def jump(installation: Installation, who: str, seconds: int) -> None:
    for name, shim in installation.shims.items():
        shim.shift_clock(seconds if who == "all" or name.startswith(who) else 0)


def survives(setup: str, folder: Path, jumps: list[Jump]) -> None:
    if library() is None:
        pytest.skip("no C compiler makes the shim here")
    said: list[str] = []
    installation = Installation(setup, folder, said.append, INDEXER__BATCH_SIZE="8")
    installation.shimmed()
    with installation:
        users = Users(Plan(setup, 0, seed=0), installation, Notes(said.append))
        client, ledger = users.clients["uploads"], users.ledgers["uploads"]
        assert wait_until(lambda: answers(client), READY_SECONDS) is not None
        client.create()
        for who, seconds in [("nobody", 0), *jumps]:
            brought(users, ENLARGED)  # the jump comes in the middle of work, and so does the way back
            jump(installation, who, seconds)
            brought(users, enlarged=1)
            assert users.found_within(FOUND_SECONDS) is not None, f"{who} {seconds:+d}: {said}"
            brought(users, ENLARGED)
            jump(installation, "nobody", 0)
            assert users.found_within(FOUND_SECONDS) is not None, f"{who} {seconds:+d} and back: {said}"
        verdict = ledger.verdict(client.images())
        assert verdict.sound, verdict
        assert verdict.kept > 20 * len(jumps)
        assert said == []


@pytest.mark.timeout(600)
def test_clocks_that_jump_by_three_hours_lose_nothing_and_stop_nothing(tmp_path: Path) -> None:
    survives("sqlite", tmp_path / "sqlite", SHORT)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("setup", ["sqlite", "postgres-redis"])
def test_every_clock_may_jump_either_way(setup: str, tmp_path: Path) -> None:
    survives(setup, tmp_path / setup, LONG)
