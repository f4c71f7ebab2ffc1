"""Checks that hang do not hold up who asks, and are not begun again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sightline.api.bounded_checks import BoundedChecks

BOUND = 60


def test_a_check_that_hangs_is_left_out_and_waited_for_again_not_begun_again() -> None:
    asked, go = [0], threading.Event()

    def hanging() -> str:
        asked[0] += 1
        assert go.wait(BOUND)
        return "at last"

    checks = BoundedChecks[str]()
    both = {"hanging": hanging, "quick": lambda: "here"}
    for _ in range(3):
        assert "hanging" not in asyncio.run(checks.found(both, 0.1))
    assert asked == [1]
    go.set()
    assert asyncio.run(checks.found(both, BOUND)) == {"hanging": "at last", "quick": "here"}


def test_what_a_check_raises_is_its_askers() -> None:
    def broken() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(BoundedChecks[str]().found({"broken": broken}, BOUND))
