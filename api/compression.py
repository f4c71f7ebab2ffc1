"""gzip for answers of text, where that is safe and breaks nothing.

Left as they are: events (they would wait for one another), pictures and other bytes, ranges (they are of
the bytes as they lie), HEAD, and what is small. Against BREACH, which reads a secret off the sizes of answers
that hold it and what the attacker chose: what another site's page asks for is not compressed (the session
cookie does not act for it either, see api.origins), nor is what makes or lists keys.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.api.origins import OWN
from sightline.api.urls import path_of

SMALLEST: Final = 1000
"""Bytes: what fits one packet travels no faster for being smaller."""
LEVEL: Final = 5
LEFT: Final = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES,
    "image/*",
    "font/*",
    "application/octet-stream",
    "application/x-ndjson",
)
SECRETS: Final = "/v1/keys"


class Compression:
    """ASGI middleware around all that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packing = GZipMiddleware(
            app, minimum_size=SMALLEST, compresslevel=LEVEL, exclude_content_types=LEFT
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _may_pack(scope):
            await self._app(scope, receive, send)
            return

        async def send_weakened(message: Message) -> None:
            if message["type"] == "http.response.start":
                _weaken(message)
            await send(message)

        await self._packing(scope, receive, send_weakened)


def _may_pack(scope: Scope) -> bool:
    headers, path = Headers(scope=scope), path_of(scope)
    if scope["method"] == "HEAD" or "range" in headers or path == SECRETS or path.startswith(f"{SECRETS}/"):
        return False
    if headers.get("sec-fetch-site", "none") not in OWN and not path.startswith("/static/"):
        return False
    return _takes_gzip(headers.get("accept-encoding", ""))


def _takes_gzip(accepted: str) -> bool:
    """Whether ``gzip`` is among the codings, and not with the weight 0."""
    for one in accepted.lower().split(","):
        name, _, weight = one.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False


def _weaken(message: Message) -> None:
    """Other bytes under the same ETag: the tag says only that they mean the same (RFC 9110, 8.8.1)."""
    headers = MutableHeaders(raw=message["headers"])
    tag = headers.get("etag", "W/")
    if headers.get("content-encoding") == "gzip" and not tag.startswith("W/"):
        headers["ETag"] = f"W/{tag}"
