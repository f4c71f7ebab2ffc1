"""How often somebody may do something: a moving window, kept in this process."""

from __future__ import annotations

import math
import time

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from sightline.errors import InputError


class RateLimit:
    """``rule``: how much in which time, such as ``600/minute`` or ``20/10 seconds``. Thread-safe.

    Counts are of this process alone, and forgotten when their window is over. ``times`` as much may be done
    as the rule says.
    """

    def __init__(self, rule: str, times: int = 1) -> None:
        try:
            said = parse(rule)
            self._rule = type(said)(said.amount * times, said.multiples)
        except ValueError:
            raise InputError(f"{rule!r} is no rate; it reads like '600/minute'.") from None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def wait(self, who: str) -> int | None:
        """Count one attempt of ``who``: None when it may go on, else after how many seconds it may."""
        if self._limiter.hit(self._rule, who):
            return None
        return self._seconds(who)

    def is_used_up(self, who: str) -> int | None:
        """As ``wait``, without counting."""
        return None if self._limiter.test(self._rule, who) else self._seconds(who)

    def _seconds(self, who: str) -> int:
        free = self._limiter.get_window_stats(self._rule, who).reset_time
        return max(1, math.ceil(free - time.time()))
