"""The command line's way to the server of its own data folder: one connection, proved on both sides.

With `http.client`, because httpx would open another connection by itself where this one was closed, and
nothing may be sent on one that is not proved. No proxy is asked, whatever the environment says.
"""

from __future__ import annotations

import http.client
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from sightline.client.calls import Call, as_json, document
from sightline.client.refusals import refusal
from sightline.errors import UnavailableError
from sightline.running_server import RunningServer, is_same, proof, token

Result = TypeVar("Result")
PROOF_SECONDS: Final = 1.0
"""A server that does not prove itself so soon is not asked: it hangs, or is another program."""
ANSWER_SECONDS: Final = 600.0
MOST_PROOF: Final = 1 << 16


class LocalServer:
    """A connection to the server that ``server.json`` names; a context manager.

    Raises:
        UnavailableError: nobody listens there, it is not that server, or its model is not loaded yet.
    """

    def __init__(self, server: RunningServer) -> None:
        address = server.address
        if address is None:
            raise UnavailableError(f"The server at {server.url} is not on this machine's loopback.")
        self._server = server
        self._root = urlsplit(server.url).path.rstrip("/")
        self._connection = http.client.HTTPConnection(*address, timeout=PROOF_SECONDS)
        try:
            self._connection.connect()
            self._connection.auto_open = 0
            self._port: int = self._connection.sock.getsockname()[1]
            with ended_after(PROOF_SECONDS, self._connection.sock):
                self._prove()
            self._connection.sock.settimeout(ANSWER_SECONDS)
        except BaseException as error:
            self._connection.close()
            raise _told(error, server.url) from error

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def send(self, call: Call[Result]) -> Result:
        """The answer to a call without files. Raises what the server's problem document stands for."""
        headers = {"Authorization": f"Bearer {token(self._server.secret, self._port)}"}
        body = None
        if call.body is not None:
            body, headers["Content-Type"] = as_json(call.body).encode(), "application/json"
        try:
            status, given = self._asked(call.method, call.path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise _told(error, self._server.url) from error
        if call.is_answered_by(status):
            return call.parse(given)
        raise refusal(status, given, self._server.url)

    def _prove(self) -> None:
        """Before anything is sent that says what is asked."""
        nonce = secrets.token_hex(32)
        status, given = self._asked("GET", f"/v1/local?nonce={nonce}", None, {}, MOST_PROOF)
        told: dict[str, Any] = document(given) if status == 200 else {}
        if not is_same(str(told.get("proof")), proof(self._server.secret, nonce, self._port)):
            raise UnavailableError(
                f"What answers at {self._server.url} is not the server of this data folder."
            )
        if told.get("ready") is not True:
            raise UnavailableError(f"The server at {self._server.url} loads its model.")

    def _asked(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], most: int | None = None
    ) -> tuple[int, bytes]:
        self._connection.request(method, self._root + path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read() if most is None else response.read(most)


@contextmanager
def ended_after(seconds: float, connection: socket.socket) -> Iterator[None]:
    """A connection ends when the block takes longer: its own timeout begins anew with every byte."""

    def end() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(seconds, end)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _told(error: BaseException, url: str) -> BaseException:
    if isinstance(error, OSError | http.client.HTTPException):
        return UnavailableError(f"The server at {url} cannot be reached ({type(error).__name__}: {error}).")
    return error
