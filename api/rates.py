"""How often somebody may do something: a moving window, kept in this process."""

from __future__ import annotations

import math
import threading
import time
from typing import Final

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from sightline.errors import InputError

OWN: Final = 4_096
"""So many have a counter of their own, those who came first."""
SHARED: Final = 4_096
"""The others share that many: who has many addresses fills no memory. The library looks at every counter that
there ever was about a hundred times a second, and forgets none.
"""


class RateLimit:
    """``rule``: how much in which time, such as ``600/minute`` or ``20/10 seconds``. Thread-safe.

    Counts are of this process alone, and forgotten when their window is over. Memory is bounded, however many
    are counted: see `OWN`. ``times`` as much may be done
    as the rule says.
    """

    def __init__(self, rule: str, times: int = 1) -> None:
        try:
            said = parse(rule)
            self._rule = type(said)(said.amount * times, said.multiples)
        except ValueError:
            raise InputError(f"{rule!r} is no rate; it reads like '600/minute'.") from None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._own: set[str] = set()
        self._lock = threading.Lock()

    def wait(self, who: str, times: int = 1) -> int | None:
        """Count so many attempts of ``who``: None when it may go on, else after how many seconds it may."""
        counter = self._counter(who)
        return None if self._limiter.hit(self._rule, counter, cost=times) else self._seconds(counter)

    def is_used_up(self, who: str) -> int | None:
        """As ``wait``, without counting."""
        counter = self._counter(who)
        return None if self._limiter.test(self._rule, counter) else self._seconds(counter)

    def _counter(self, who: str) -> str:
        """Which ones share one differs from process to process."""
        with self._lock:
            if who in self._own or len(self._own) < OWN:
                self._own.add(who)
                return f"own {who}"
        return f"shared {hash(who) % SHARED}"

    def _seconds(self, counter: str) -> int:
        free = self._limiter.get_window_stats(self._rule, counter).reset_time
        return max(1, math.ceil(free - time.time()))
