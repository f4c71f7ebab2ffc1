"""The stream of one client that follows something, who has a place, and a right to it, while it lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

import anyio
from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from sightline.api.auth import Gatekeeper, given_in
from sightline.api.problems import Problem, respond
from sightline.api.room import Room

KEEP_ALIVE_SECONDS = 15
STOP_SECONDS = 2
"""How long the stream of a server that stops may take to end by itself."""
log = logging.getLogger("sightline.http")
Told = TypeVar("Told")


class FollowerStream(EventSourceResponse):
    """Server-sent events that end with the server, and with the key that they were asked for with."""

    def __init__(self, request: Request, events: AsyncGenerator[ServerSentEvent], stops: anyio.Event) -> None:
        super().__init__(
            while_admitted(events, partial(is_admitted, request), KEEP_ALIVE_SECONDS),
            ping=KEEP_ALIVE_SECONDS,
            headers={"Cache-Control": "no-store"},
            shutdown_event=stops,
            shutdown_grace_period=STOP_SECONDS,
        )
        self._room: Room = request.app.state.followers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """503 when there are too many followers: known beforehand, so a short line of the log says it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._room.place())
            except Problem as problem:
                log.warning("%s", problem.detail, extra={"code": problem.code})
                await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
                return
            await super().__call__(scope, receive, send)


async def is_admitted(request: Request) -> bool:
    """Whether who asked this would still be let in: its key is neither revoked nor over."""
    gatekeeper: Gatekeeper = request.app.state.gatekeeper
    try:
        await gatekeeper.admit(request.scope, given_in(request.headers), stale=True)
    except Problem as problem:
        return problem.status != 401  # of a catalog that is away nothing is told either
    return True


async def while_admitted(
    events: AsyncGenerator[Told], admitted: Callable[[], Awaitable[bool]], seconds: float
) -> AsyncIterator[Told]:
    """``events`` until ``admitted`` says no, which is asked before each, and every so many seconds."""
    coming: asyncio.Task[Told | None] | None = None
    try:
        while True:
            coming = asyncio.create_task(_next_of(events))
            while not coming.done():
                await asyncio.wait({coming}, timeout=seconds)
                if not await admitted():
                    return
            event = coming.result()
            if event is None:
                return
            yield event
    finally:
        if coming is not None and not coming.done():
            coming.cancel()
            await asyncio.wait({coming})
        await events.aclose()


async def _next_of(events: AsyncGenerator[Told]) -> Told | None:
    return await anext(events, None)
