"""How many clients may do something at once that holds memory, disk or a connection for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp, Receive, Scope, Send

from sightline.api.problems import RETRY_AFTER, Problem, respond
from sightline.api.settings import ApiSettings
from sightline.api.urls import is_upload

SPOOL_BYTES = 64 << 10
"""A file of an upload that is larger is written to the disk as it comes."""


def spool_early() -> None:
    """Starlette keeps the first megabyte of each file in memory, also when there are a thousand."""
    MultiPartParser.spool_max_size = SPOOL_BYTES


class Room:
    """``most`` at once. Used in one event loop."""

    def __init__(self, most: int, detail: str) -> None:
        self._most = most
        self._detail = detail
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Held during the block. Raises Problem: 503 when there is none."""
        if self.taken >= self._most:
            headers = {"Retry-After": RETRY_AFTER[503], "Connection": "close"}
            raise Problem(503, self._detail, code="overloaded", headers=headers)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class UploadRoom:
    """Admits uploads before a byte of their bodies is read."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        detail = "This server receives as many uploads as it can; send this one again in a moment."
        self._room = Room(settings.max_uploads, detail)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_upload(scope):
            await self._app(scope, receive, send)
            return
        try:
            with self._room.place():
                await self._app(scope, receive, send)
        except Problem as problem:
            await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
