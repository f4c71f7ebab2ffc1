"""What a thread has to tell on its way, sent as server-sent events; it waits for nobody who reads them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress

from starlette.types import Receive

from sightline.api.dependencies import ModelThreads, watch
from sightline.api.room import Room
from sightline.api.streaming import Event


class Pushed:
    """Events of one request, pushed by ``work`` in a thread of its own while others are sent.

    Unlike `Steps` the work ends, and gives its place at the model back, however slowly the client reads; so
    it must ask `is_read` before it pushes what may be left out. When the client is gone, what waits for the
    model is called off.
    """

    def __init__(self, threads: ModelThreads, room: Room, work: Callable[[Pushed], None]) -> None:
        """``room``: where the stream has a place until its end."""
        self._threads = threads
        self._room = room
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._gone = threading.Event()
        self._held = ExitStack()
        self._task: asyncio.Task[None] | None = None
        self._pushed = self._taken = 0  # each is written by one thread alone

    def push(self, event: Event) -> None:
        """In the working thread."""
        self._pushed += 1
        with suppress(RuntimeError):  # the loop is closed: the server is gone
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    @property
    def is_read(self) -> bool:
        """Whether all that was pushed is on its way to the client, who then wants more."""
        return self._taken == self._pushed

    async def first(self, receive: Receive) -> Event | None:
        """Begin, and give the first event; what goes wrong before it is raised: the status can say so.

        The body must have been read. Raises Problem: 503 when there is no place.
        """
        self._held.enter_context(self._room.place())
        self._task = asyncio.create_task(self._threads.step(lambda: self._work(self), self._gone))
        self._task.add_done_callback(self._ended)
        watcher = asyncio.create_task(watch(receive, self._gone))
        try:
            return await self._next()
        except BaseException:
            self.end()
            raise
        finally:
            watcher.cancel()

    async def rest(self) -> AsyncIterator[Event]:
        """All that follow."""
        while (event := await self._next()) is not None:
            yield event

    def end(self) -> None:
        """Nobody listens any more."""
        self._gone.set()
        self._held.close()
        if self._task is not None:
            self._task.cancel()

    async def _next(self) -> Event | None:
        event = await self._queue.get()
        if event is None:
            assert self._task is not None
            return self._task.result()  # raises what ended the work
        self._taken += 1
        return event

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # told by `_next`; where nobody asks any more, nobody wants to know
        self._queue.put_nowait(None)
