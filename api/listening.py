"""uvicorn, as every server of ours runs it: with bounded connections (`sightline.api.connections`)."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from sightline.api.connections import BoundedConfig, Connection
from sightline.api.crowd import Connections

ACCEPT_AT_ONCE: Final = 32
"""Connections taken from the system in one go: then the limit is looked at, before more come in."""
WAITING_TO_BE_ACCEPTED: Final = 1024
SAY_AGAIN_SECONDS: Final = 10.0
log = logging.getLogger("sightline.http")


class ServerConfig(BoundedConfig):
    """``app``: one made by `sightline.api.app.create_app`, whose settings are kept to."""

    def __init__(self, app: FastAPI, root_path: str, grace_seconds: int) -> None:
        settings = app.state.parts.settings
        super().__init__(
            app,
            http=Connection,
            ws="none",  # its connections would not be bounded
            log_config=None,
            access_log=False,
            server_header=False,
            root_path=root_path,
            forwarded_allow_ips=list(settings.trusted_proxies),
            backlog=ACCEPT_AT_ONCE,
            timeout_keep_alive=settings.idle_seconds,
            timeout_graceful_shutdown=grace_seconds,
        )
        self.connections = Connections(settings)
        self.refused = app.state.metrics.count_refusal


class BoundedServer(uvicorn.Server):
    """Serves on sockets that are bound already."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """asyncio takes as many connections at once as may wait; only the latter are to be many."""
        asyncio.get_running_loop().set_exception_handler(_Handler())
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(WAITING_TO_BE_ACCEPTED)


class _Handler:
    """Errors that nobody awaits. asyncio reports an accept that fails up to once for each that might wait."""

    def __init__(self) -> None:
        self._said_at = -SAY_AGAIN_SECONDS

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, now = context.get("exception"), time.monotonic()
        if not isinstance(error, OSError) or "accept" not in context["message"]:
            loop.default_exception_handler(context)
        elif now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            log.error("No connection can be accepted for now: %s.", error.strerror)
