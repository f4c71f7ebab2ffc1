"""What a thread makes piece by piece, sent as server-sent events for as long as the client listens."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple, Protocol

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from sightline.api.dependencies import ModelThreads
from sightline.api.problems import Problem, document, from_error, note
from sightline.errors import AbandonedError, SightlineError

KEEP_ALIVE_SECONDS = 15
STOP_SECONDS = 2
"""How long the stream of a server that stops may take to end by itself."""


class Event(NamedTuple):
    """One event: its name, and its data as JSON."""

    name: str
    data: str


class Events(Protocol):
    """Events of one request whose first one was taken."""

    def rest(self) -> AsyncIterator[Event]:
        """All that follow."""
        ...

    def end(self) -> None:
        """Nobody listens any more."""
        ...


class Steps:
    """Events of one request, each made in a thread when it is asked for.

    When the client is gone, what waits for the model is called off, and the block in which the events are
    made is left, by whoever comes last: the thread that is in it, or the response that ends.
    """

    def __init__(self, threads: ModelThreads, make: Callable[[], Iterator[Event]]) -> None:
        self._threads = threads
        self._events = make()
        self._gone = threading.Event()
        self._inside = threading.Lock()

    async def first(self, receive: Receive) -> Event | None:
        """The first event; what goes wrong before it is raised, so that the answer can say so.

        The body must have been read.
        """
        try:
            return await self._threads.step(self._next, self._gone, receive)
        except BaseException:
            self.end()
            raise

    async def rest(self) -> AsyncIterator[Event]:
        """All that follow."""
        while (event := await self._threads.step(self._next, self._gone)) is not None:
            yield event

    def end(self) -> None:
        """Nobody listens any more."""
        self._gone.set()
        if self._inside.acquire(blocking=False):
            try:
                self._events.close()  # type: ignore[attr-defined]  # it is a generator
            finally:
                self._inside.release()

    def _next(self) -> Event | None:
        with self._inside:
            if self._gone.is_set():
                raise AbandonedError("The client has hung up; nothing more is answered.")
            event = next(self._events, None)
        if self._gone.is_set():
            self.end()
        return event


class EventStream(EventSourceResponse):
    """The answer: the events, at the end of which stands ``error`` with a problem document if one came."""

    def __init__(self, request: Request, first: Event | None, events: Events) -> None:
        self._events = events
        super().__init__(
            _sent(request, first, events),
            ping=KEEP_ALIVE_SECONDS,
            headers={"Cache-Control": "no-store"},
            shutdown_event=anyio.Event(),
            shutdown_grace_period=STOP_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the framework's; whatever ends it, nothing goes on behind it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._events.end()


async def _sent(request: Request, first: Event | None, events: Events) -> AsyncIterator[ServerSentEvent]:
    if first is None:
        return
    yield ServerSentEvent(first.data, event=first.name)
    try:
        async for event in events.rest():
            yield ServerSentEvent(event.data, event=event.name)
    except Exception as error:  # the status was sent: what went wrong is told in the stream
        problem = _problem(error)
        note(error, problem)
        told = document(problem, request.url.path, request.scope.get("request_id"))
        yield ServerSentEvent(json.dumps(told), event="error")


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, SightlineError):
        return from_error(error)
    return Problem(500, "Something went wrong here. The server's log has the reason.")
