"""The stream of one client that follows something, who has a place while it lasts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from sightline.api.problems import Problem, respond
from sightline.api.room import Room

KEEP_ALIVE_SECONDS = 15
STOP_SECONDS = 2
"""How long the stream of a server that stops may take to end by itself."""
log = logging.getLogger("sightline.http")


class FollowerStream(EventSourceResponse):
    """Server-sent events that end with the server."""

    def __init__(self, room: Room, events: AsyncIterator[ServerSentEvent], stops: anyio.Event) -> None:
        super().__init__(
            events,
            ping=KEEP_ALIVE_SECONDS,
            headers={"Cache-Control": "no-store"},
            shutdown_event=stops,
            shutdown_grace_period=STOP_SECONDS,
        )
        self._room = room

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
