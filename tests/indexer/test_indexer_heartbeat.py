"""A lease is renewed while the work goes on; the work learns at once when it is lost."""

from __future__ import annotations

import threading
import time

import pytest

from sightline.errors import LeaseLostError
from sightline.indexer.heartbeat import Heartbeat


def waited_for(event: threading.Event) -> bool:
    return event.wait(timeout=5)


def lost(heartbeat: Heartbeat) -> bool:
    """Whether it says so within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            heartbeat.check()
        except LeaseLostError:
            return True
        time.sleep(0.01)
    return False


def test_it_renews_until_the_block_ends() -> None:
    thrice = threading.Event()
    calls = 0

    def renew() -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            thrice.set()
        return True

    with Heartbeat(renew, lease=10, interval=0.01, what="task 1") as heartbeat:
        assert waited_for(thrice)
        heartbeat.check()
    after = calls
    time.sleep(0.05)
    assert calls == after


def test_a_refused_renewal_stops_the_work() -> None:
    with Heartbeat(lambda: False, lease=10, interval=0.01, what="task 7") as heartbeat:
        assert lost(heartbeat)
        with pytest.raises(LeaseLostError, match="task 7 belongs to another process now"):
            heartbeat.check()


def test_a_database_that_is_away_for_less_than_the_lease_loses_nothing() -> None:
    answers = iter([OSError("restarting"), OSError("restarting"), True])
    back = threading.Event()

    def renew() -> bool:
        answer = next(answers, True)
        if isinstance(answer, OSError):
            raise answer
        back.set()
        return True

    with Heartbeat(renew, lease=10, interval=0.01, what="task 1") as heartbeat:
        assert waited_for(back)
        heartbeat.check()


def test_a_database_that_stays_away_counts_as_lost_once_the_lease_is_over() -> None:
    def renew() -> bool:
        raise OSError("gone")

    began = time.monotonic()
    with Heartbeat(renew, lease=0.2, interval=0.02, what="task 1") as heartbeat:
        assert lost(heartbeat)
    assert 0.2 <= time.monotonic() - began < 3
