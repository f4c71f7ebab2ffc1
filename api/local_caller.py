"""Commands of this machine: callers that hold the secret of ``server.json`` (`sightline.running_server`).

Whoever can read that file can read the data folder, and searches it without asking anybody; so such a caller
reads everything, whatever keys there are, and writes nothing. Its token is good over loopback only.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from sightline.api.access import Access
from sightline.api.clients import read_ip
from sightline.running_server import TOKEN_PREFIX, is_same, proof, token

LOCAL: Final = Access("(this machine)", "read", is_local=True)
"""No key of the catalog can be called so."""


class LocalCaller:
    """Proves this process to a client, and a client to this process. ``secret`` None: does neither."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret

    def proof(self, scope: Scope, nonce: str) -> str | None:
        """The answer to a client's ``nonce``; None where there is none to give."""
        port = loopback_port(scope)
        return None if self._secret is None or port is None else proof(self._secret, nonce, port)

    def admits(self, scope: Scope, given: str) -> bool:
        """Whether ``given`` is the token of the connection that it came with."""
        port = loopback_port(scope)
        if self._secret is None or port is None or not given.startswith(TOKEN_PREFIX):
            return False
        return is_same(given, token(self._secret, port))


def loopback_port(scope: Scope) -> int | None:
    """The client's port, of a connection from this machine that no proxy speaks of."""
    host, port = scope.get("client") or ("", 0)
    address = read_ip(host)
    return port if address is not None and address.is_loopback and port else None
