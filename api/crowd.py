"""How many connections there are, and which of them give way when there is no room for another."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from sightline.api.settings import ApiSettings

LOOK_SECONDS: Final = 0.5
RESERVE: Final = 16
"""Connections beyond the limit, for those who ask whether this process lives."""
NOT_FOR_CONNECTIONS: Final = 256
"""Open files that are left for databases, segments, originals and log files."""
DRAWN: Final = 64
"""Connections of which the first to go is chosen: looking at thousands for each that comes would be all that
a server does while somebody fills it."""
SEARCH_SECONDS: Final = 0.25
"""How often all are looked at, when none of those drawn gives way."""
YIELDING: Final = ("closing", "idle", "header", "body", "reading")
"""Phases in which a connection waits for its client, and the order in which they give way."""
log = logging.getLogger("sightline.http")


class Connection(Protocol):
    """What has to be known of one, and done to it."""

    address: str
    """Its client's (`sightline.api.clients`)."""
    since: float
    """When the current phase began, or the last bytes came."""

    def phase(self) -> str:
        """What it waits for: one of `YIELDING`, or ``working`` when for us."""
        ...

    def look(self, now: float) -> str | None:
        """Close it when its client was too slow; why, if so."""
        ...

    def reset(self) -> None:
        """Close it at once."""
        ...

    def answers_only_checks(self) -> None:
        """There is no room: from now on it answers nothing else."""
        ...


class Crowd:
    """Connections, of which some can be drawn at random; every step takes the same time, however many."""

    def __init__(self) -> None:
        self._members: list[Connection] = []
        self._places: dict[Connection, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._members))

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._places

    def add(self, connection: Connection) -> None:
        """One that is not in it."""
        self._places[connection] = len(self._members)
        self._members.append(connection)

    def remove(self, connection: Connection) -> None:
        """One that is in it."""
        place, last = self._places.pop(connection), self._members.pop()
        if last is not connection:
            self._members[place], self._places[last] = last, place

    def draw(self, most: int) -> list[Connection]:
        """All, or so many of them."""
        return random.sample(self._members, min(most, len(self._members)))


def most_connections(settings: ApiSettings) -> int:
    """How many connections may be open: the setting, else what the limit on open files leaves."""
    if settings.max_connections is not None:
        return settings.max_connections
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        files = 1 << 16
    # One that reads an original has that file open too.
    return max(RESERVE, min(4096, (files - NOT_FOR_CONNECTIONS) // 2))


class Connections:
    """All connections of one server. Used in its event loop only."""

    def __init__(self, settings: ApiSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.clock = clock
        self._most = most_connections(settings)
        self._of_one = settings.max_connections_per_address or max(1, self._most // 2)
        self._open = Crowd()
        self._by_address: dict[str, Crowd] = {}
        self._searched_at = float("-inf")
        self._closed: Counter[str] = Counter()
        self._is_looking = False

    def admit(self, connection: Connection) -> None:
        """Count it in; when there is no room, at the cost of one that keeps us waiting."""
        mine = self._by_address.get(connection.address, Crowd())
        is_many = len(mine) >= self._of_one
        if is_many or len(self._open) >= self._most:
            victim = self._victim(mine if is_many else self._open)
            if victim is not None:
                self._closed["to make room"] += 1
                victim.reset()
                self.leave(victim)
            elif len(self._open) < self._most + RESERVE and len(mine) < self._of_one + RESERVE:
                connection.answers_only_checks()
            else:
                self._closed["no room"] += 1
                connection.reset()
                return
        self._open.add(connection)
        self._by_address.setdefault(connection.address, mine).add(connection)
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _victim(self, among: Crowd) -> Connection | None:
        """The first to go of a few; of all, when these all wait for us. None when there is none."""
        first = min(among.draw(DRAWN), key=self._rank, default=None)
        if first is not None and first.phase() in YIELDING:
            return first
        if len(among) <= DRAWN or self.clock() - self._searched_at < SEARCH_SECONDS:
            return None
        self._searched_at = self.clock()
        return next((one for one in among if one.phase() in YIELDING), None)

    def _rank(self, connection: Connection) -> tuple[int, int, float]:
        """The first to go: what waits for its client, of who has most connections, the oldest."""
        phase = connection.phase()
        worth = YIELDING.index(phase) if phase in YIELDING else len(YIELDING)
        return worth, -len(self._by_address[connection.address]), connection.since

    def leave(self, connection: Connection) -> None:
        """It is gone, or will be at once. Twice is once."""
        if connection in self._open:
            self._open.remove(connection)
            self._by_address[connection.address].remove(connection)
            if not len(self._by_address[connection.address]):
                del self._by_address[connection.address]

    def _look(self) -> None:
        now = self.clock()
        for connection in self._open:
            reason = connection.look(now)
            if reason:
                self._closed[reason] += 1
        if self._closed:  # one line, however many there are
            said = ", ".join(f"{count} ({reason})" for reason, count in sorted(self._closed.items()))
            log.info("Connections were closed: %s.", said)
            self._closed.clear()
        self._is_looking = bool(self._open)
        if self._is_looking:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
