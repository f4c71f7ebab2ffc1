"""Clients that follow jobs: one task looks at each job that somebody follows, once for all of them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from anyio import CapacityLimiter, to_thread

from sightline.errors import UnavailableError
from sightline.store.patience import having

REST = 4
"""After looking, so many times as long passes before the next look, at least: many jobs slow nobody down."""
log = logging.getLogger("sightline.http")


class Seen(NamedTuple):
    """A job as it was found: what its followers are sent, and what of it counts as a change."""

    text: str
    shown: str
    ended: bool


class Stops(Protocol):
    """Whether the server stops."""

    def is_set(self) -> bool: ...


Look = Callable[[str], Seen | None]
"""A job by its id, None once it is gone. Blocks; may raise UnavailableError."""


@dataclass(eq=False)
class _Channel:
    """A job that is followed. ``version`` counts its changes; ``changed`` is set at the next one."""

    look: Look
    job_id: str
    stops: list[Stops] = field(default_factory=list)
    seen: Seen | None = None
    version: int = 0
    gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, seen: Seen | None) -> None:
        """What was found now."""
        if seen is None:
            self.gone = True
        elif self.seen is None or seen[1:] != self.seen[1:]:
            self.seen, self.version = seen, self.version + 1
        else:
            return
        self.wake()

    def wake(self) -> None:
        """All who wait."""
        self.changed.set()
        self.changed = asyncio.Event()


class Following:
    """``seconds``: how often a job is looked at. Used in one event loop at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._channels: dict[tuple[str, Hashable], _Channel] = {}
        self._task: asyncio.Task[None] | None = None
        self._new = asyncio.Event()

    async def follow(self, job_id: str, view: Hashable, look: Look, stops: Stops) -> AsyncIterator[Seen]:
        """The job now, and whenever it has changed, until it has ended, is gone, or the server stops.

        Followers with the same ``view`` (what differs in what they are sent) share the first one's ``look``.

        A client that reads slowly misses states in between, never the last one.
        """
        channel = self._join((job_id, view), look)
        channel.stops.append(stops)
        version = 0
        try:
            while not stops.is_set():
                if channel.seen is not None and channel.version > version:
                    version = channel.version
                    seen = channel.seen
                    yield seen
                    if seen.ended:
                        return
                elif channel.gone:
                    return
                else:
                    await channel.changed.wait()
        finally:
            channel.stops.remove(stops)
            if not channel.stops and self._channels.get((job_id, view)) is channel:
                del self._channels[job_id, view]

    def _join(self, key: tuple[str, Hashable], look: Look) -> _Channel:
        if self._task is None or self._task.done():
            self._channels.clear()
            self._new = asyncio.Event()
            # In no request's context: its id would stand in the log lines of all others.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        if key not in self._channels:
            self._channels[key] = _Channel(look, key[0])
            self._new.set()
        return self._channels[key]

    async def _run(self) -> None:
        limiter = CapacityLimiter(1)
        with having("request"):
            due = 0.0
            while self._channels:
                is_due = time.monotonic() >= due
                open_ones = [one for one in self._channels.values() if not (one.seen and one.seen.ended)]
                channels = [one for one in open_ones if is_due or one.version == 0]
                self._new.clear()
                began = time.monotonic()
                found = await to_thread.run_sync(_look_at, channels, limiter=limiter)
                for channel, seen in found:
                    channel.take(seen)
                took = time.monotonic() - began
                if is_due:
                    due = time.monotonic() + max(self._seconds, REST * took)
                await self._rest(due)

    async def _rest(self, due: float) -> None:
        """Until then, or until somebody follows another job; who follows a server that stops is woken."""
        for channel in self._channels.values():
            if any(stops.is_set() for stops in channel.stops):
                channel.wake()
        seconds = min(due - time.monotonic(), self._seconds)
        try:
            await asyncio.wait_for(self._new.wait(), max(seconds, 0.01))
        except TimeoutError:
            return


def _look_at(channels: Sequence[_Channel]) -> list[tuple[_Channel, Seen | None]]:
    """What is found of each; nothing of a job whose catalog is away for a moment: it is looked at again."""
    found = []
    for channel in channels:
        try:
            found.append((channel, channel.look(channel.job_id)))
        except UnavailableError as error:
            log.warning("%s", error, extra={"job_id": channel.job_id})
            break
        except Exception:
            log.exception("A job cannot be followed.", extra={"job_id": channel.job_id})
            found.append((channel, None))  # the stream ends, and the client comes again
    return found
