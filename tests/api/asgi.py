"""One request straight into an ASGI application, with exactly these headers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Given:
    """What came back; ``status`` is the close code of a refused WebSocket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(
    app: ASGIApp,
    method: str,
    path: str,
    headers: Pairs,
    body: bytes = b"",
    client: tuple[str, int] | None = ("127.0.0.1", 50_000),
    scheme: str = "http",
) -> Given:
    """The answer to one request."""
    raw = [(name.lower().encode(), value.encode("utf-8")) for name, value in headers]
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": scheme,
        "path": path.partition("?")[0], "raw_path": path.partition("?")[0].encode(), "root_path": "",
        "query_string": path.partition("?")[2].encode(), "headers": raw, "client": client,
        "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    return asyncio.run(_ask(app, scope, [{"type": "http.request", "body": body, "more_body": False}]))


def open_socket(app: ASGIApp, headers: Pairs) -> Given:
    """The answer to a WebSocket's handshake."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope: Scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": "/",
        "raw_path": b"/", "root_path": "", "query_string": b"", "headers": raw, "subprotocols": [],
        "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    return asyncio.run(_ask(app, scope, [{"type": "websocket.connect"}]))


async def _ask(app: ASGIApp, scope: Scope, messages: list[Message]) -> Given:
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(60)
        raise AssertionError("nobody should wait for the client here")

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    first = sent[0]
    if first["type"] == "websocket.close":
        return Given(first["code"], {}, b"")
    headers = {name.decode(): value.decode() for name, value in first["headers"]}
    return Given(first["status"], headers, b"".join(message.get("body", b"") for message in sent))
