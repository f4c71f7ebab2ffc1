"""Answers that are read from a file while they are sent, whole or one range of them (RFC 9110)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sightline.api.problems import Problem, UploadTooLarge, respond

if TYPE_CHECKING:
    from sightline.indexer.opened_originals import OpenedOriginal

PIECE: Final = 128 << 10
"""What one client that reads slowly holds in memory, about twice."""
RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE)
REST: Final = 12
REST_SECONDS: Final = 0.1
Result = TypeVar("Result")


class FileThreads:
    """Threads for what browsers show beside results (pictures, pages of a collection): few, and while
    ``is_busy()`` (somebody searches) each rests `REST` times as long as it worked, so that the search has the
    processors.
    """

    def __init__(self, threads: int, is_busy: Callable[[], bool]) -> None:
        self._threads = CapacityLimiter(threads)
        self._places = CapacityLimiter(threads)
        self._is_busy = is_busy

    async def run(self, work: Callable[[], Result]) -> Result:
        """``work()`` in one of them."""
        async with self._places:
            began = time.monotonic()
            result = await to_thread.run_sync(work, limiter=self._threads)
            if self._is_busy():
                await asyncio.sleep(min(REST_SECONDS, REST * (time.monotonic() - began)))
            return result


def asked_range(headers: Headers, etag: str, size: int) -> tuple[int, int] | None:
    """(first, end) of the one range that is asked for; None when all is to be sent.

    What is no single range in bytes is ignored, as is one of another version (If-Range). Raises Problem: 416.
    """
    found = RANGE.fullmatch(headers.get("range", ""))
    if found is None or found.groups() == ("", ""):
        return None
    if headers.get("if-range", etag) != etag:
        return None
    if not found[1]:
        first, end = max(0, size - int(found[2])), size
    else:
        first, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
        if found[2] and int(found[2]) < first:
            return None
    if first >= size or first >= end:
        detail = f"The file has {size:,} bytes; there are none in this range."
        raise Problem(416, detail, headers={"Content-Range": f"bytes */{size}"})
    return first, end


class FileAnswer(Response):
    """Sends an opened original and closes it, whatever happens."""

    def __init__(self, original: OpenedOriginal, headers: Mapping[str, str], threads: FileThreads) -> None:
        self._original = original
        self._given = {**headers, "Accept-Ranges": "bytes"}
        self._threads = threads
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends early, with the connection, when the client goes or the file is written to."""
        try:
            size = self._original.size
            try:
                found = asked_range(Headers(scope=scope), self._given["ETag"], size)
            except Problem as problem:
                await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
                return
            first, end = found or (0, size)
            if found is not None:
                self._given["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
            self._given["Content-Length"] = str(end - first)
            pairs = [(key.lower().encode(), value.encode()) for key, value in self._given.items()]
            status = 200 if found is None else 206
            await send({"type": "http.response.start", "status": status, "headers": pairs})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._send(first, end, receive, send)
        finally:
            self._original.close()

    async def _send(self, first: int, end: int, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(until_gone(receive))
        try:
            for at in range(first, end, PIECE):
                length = min(PIECE, end - at)
                piece = await self._threads.run(lambda at=at, length=length: self._original.read(at, length))  # type: ignore[misc]
                await send({"type": "http.response.body", "body": piece, "more_body": at + length < end})
                if gone.done():
                    return
            if first >= end:
                await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


async def until_gone(receive: Receive) -> None:
    """Until the client has hung up, or sends more than it may, which is as good."""
    with suppress(UploadTooLarge):
        while (await receive())["type"] != "http.disconnect":
            pass
