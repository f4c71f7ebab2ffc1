"""A server that answers while it stops: requests in hand are finished, those that wait are told so."""

from __future__ import annotations

import asyncio
import socket
import time
from types import FrameType
from typing import TYPE_CHECKING

from sightline.api.listening import BoundedServer, ServerConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sightline.serving.scheduler import Scheduler

LAST_SECONDS = 3
"""What is not answered so long after the time of grace (an upload that goes on, say) is answered with 503."""
LOOK_SECONDS = 0.05


class StoppingServer(BoundedServer):
    """SIGTERM and Ctrl-C stop it in order; a second one cuts the time of grace short."""

    def __init__(self, app: FastAPI, scheduler: Scheduler, grace: float, root_path: str = "") -> None:
        super().__init__(ServerConfig(app, root_path, int(grace) + LAST_SECONDS))
        self._scheduler = scheduler
        self._grace = grace
        self._asked = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """In the signal handler: takes no lock."""
        self._asked += 1
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called once, when the server is to stop."""
        emptied = asyncio.create_task(self._empty_the_queue())
        await super().shutdown(sockets)
        await emptied

    async def _empty_the_queue(self) -> None:
        await asyncio.to_thread(self._scheduler.drain)
        until = time.monotonic() + self._grace
        while self._scheduler.figures().requests and self._asked < 2 and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(self._scheduler.close)
