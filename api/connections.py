"""Connections of slow or hostile clients: each phase of a request has its time, and there is always room.

uvicorn bounds only how long a connection may be idle between requests. Here the header, the body and the
reading of the answer are bounded too, and so is the number of connections: when all are in use, those that
keep the server waiting are closed first, so that half-sent requests lock nobody out.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from sightline.api.clients import client_of
from sightline.api.crowd import Connections
from sightline.api.framing import StrictConnection
from sightline.api.pace import Pace
from sightline.api.problems import Problem, respond
from sightline.api.urls import path_of

NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
ALWAYS: Final = frozenset({"/livez", "/readyz", "/metrics"})


class BoundedConfig(uvicorn.Config):
    """uvicorn's, of which each server has one."""

    connections: Connections
    refused: Callable[[int], None]
    """Told the status of every answer that the application did not give."""


class Connection(H11Protocol):
    """One connection: uvicorn's, and what its client may take its time for."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config, BoundedConfig)
        self._all = config.connections
        self._settings = config.connections.settings
        self._refused = config.refused
        self.conn: StrictConnection = StrictConnection(self._settings.max_header_bytes)
        self.address = ""
        self.since = self._all.clock()
        """When the current phase began, or the last bytes came."""
        self._has_asked = False
        self._header_since: float | None = None
        self._answered_at: float | None = None
        self._looked_at: tuple[str, object] = ("idle", None)
        self._pace = Pace(self.since)
        self._phase_since = self.since
        self._seen = 0

    # --- what uvicorn calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = client_of(self.client[0] if self.client else "")
        self._all.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.since = self._all.clock()
        if self.conn.their_state is h11.IDLE and self._header_since is None:
            self._header_since = self.since
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._header_since, self._has_asked = None, True

    def on_response_complete(self) -> None:
        self.since = self._answered_at = self._all.clock()
        super().on_response_complete()

    def resume_writing(self) -> None:
        self._pace.moved += HIGH_WATER_LIMIT // 2  # at least so much was read meanwhile
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Called while the protocol error is handled."""
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        if status == 431:
            most = f"{self._settings.max_header_bytes:,}"
            self.refuse(Problem(431, f"The header of a request may have at most {most} bytes."))
        else:
            self.refuse(Problem(400, f"This is no valid HTTP request: {str(error).rstrip('.')}."))

    # --- what is closed when --------------------------------------------------------------------------------

    def phase(self) -> str:
        """What this connection waits for: one of `crowd.YIELDING`, or ``working`` when for us."""
        if self.transport.is_closing():
            return "closing"
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        if self.transport.get_write_buffer_size() > 0:
            return "reading"
        if self._is_answering():
            return "working"
        return "idle" if self._header_since is None else "header"

    def look(self, now: float) -> str | None:
        """Close it when its client was too slow; why, if so."""
        phase = self.phase()
        if self._looked_at != (phase, self.cycle):
            self._looked_at, self._seen, self._pace = (phase, self.cycle), 0, Pace(now)
            self._phase_since = now
        if phase == "header" and _is_late(self._header_since, now, self._settings.header_seconds):
            self.refuse(Problem(408, "The header of this request did not arrive in time; send it again."))
            return "half a header"
        if phase == "idle":
            asked = self._has_asked
            seconds = self._settings.idle_seconds if asked else self._settings.header_seconds
            return self._close_late(self.since, now, seconds, "idle" if asked else "no request")
        if phase == "body":
            return self._look_at_body(now)
        # What is being closed waits for its last bytes to be read, and by itself for ever.
        return self._look_at_reader(now) if phase in ("reading", "closing") else None

    def _close_late(self, since: float | None, now: float, seconds: float, reason: str) -> str | None:
        if not _is_late(since, now, seconds):
            return None
        self.transport.close()
        return reason

    def _look_at_body(self, now: float) -> str | None:
        moved = self.conn.body_bytes
        self._pace.moved += moved - self._seen
        self._seen = moved
        if self.cycle.response_complete:  # without having read it all: no application limits what still comes
            return self._close_late(self._answered_at, now, self._settings.body_seconds, "a body to the end")
        if _is_late(self._phase_since, now, self._settings.upload_seconds):
            seconds = f"{self._settings.upload_seconds:g} seconds"
            self.refuse(
                Problem(408, f"The body of this request took more than {seconds}; send less at once.")
            )
            return "a body without end"
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._pace = Pace(now)  # they wait for us
        if not self._pace.is_too_slow(now, self._settings.body_seconds, self._settings.least_rate):
            return None
        self.refuse(Problem(408, "The body of this request came too slowly, or stopped; send it again."))
        return "half a body"

    def _look_at_reader(self, now: float) -> str | None:
        size = self.transport.get_write_buffer_size()
        self._pace.moved += max(0, self._seen - size)
        self._seen = size
        if not self._pace.is_too_slow(now, self._settings.write_seconds, self._settings.least_rate):
            return None
        self.reset()
        return "the answer was not read"

    # --- answers without the application --------------------------------------------------------------------

    def refuse(self, problem: Problem) -> None:
        """Answer if nothing was answered yet, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            request_id = uuid.uuid4().hex
            answer = respond(problem, self.cycle.scope["path"] if self._is_answering() else "/", request_id)
            own = [(b"connection", b"close"), (b"x-request-id", request_id.encode()), NO_SNIFFING]
            pairs = [*own, *answer.raw_headers]
            self._refused(problem.status)
            for event in (
                h11.Response(
                    status_code=problem.status,
                    headers=pairs,
                    reason=HTTPStatus(problem.status).phrase.encode(),
                ),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def reset(self) -> None:
        """Close it at once. What the client did not read yet is dropped, by the system too."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def answers_only_checks(self) -> None:
        """There is no room: whoever asks for more than whether this process lives is told to come again."""
        app, refused = self.app, self._refused

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if path_of(scope) in ALWAYS:
                await app(scope, receive, send)
                return
            detail = "All connections of this server are in use; try again in a moment."
            request_id = uuid.uuid4().hex
            headers = {"Retry-After": "5", "Connection": "close", "X-Request-Id": request_id}
            headers["X-Content-Type-Options"] = "nosniff"
            refused(503)
            await respond(Problem(503, detail, headers=headers), scope["path"], request_id)(
                scope, receive, send
            )

        self.app = answer


def _is_late(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since > seconds
