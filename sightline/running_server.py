"""``server.json`` in a data folder: which server serves it, and how both sides prove who they are.

The file has a secret of that one process, and only its owner may read it. Whoever holds it asks a listener to
prove that it holds it too, before anything is sent there: a port may have been taken by somebody else since.
What either side sends is good for one TCP connection, named by the client's port, so nobody in between can
pass it on.

Imports the standard library alone: the command line looks here before it loads anything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

FILE: Final = "server.json"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
TOKEN_PREFIX: Final = "local."
"""What a token of the secret begins with; no key does."""
_MOST_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class RunningServer:
    """A server as it announced itself. ``settings``: what its answers depend on, as a digest."""

    url: str
    pid: int
    version: str
    settings: str
    secret: str = field(repr=False)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None unless it is plain HTTP on a loopback address: nothing else is spoken to."""
        parts = urlsplit(self.url)
        with suppress(ValueError):
            if parts.scheme == "http" and parts.hostname in LOOPBACK and parts.port:
                return parts.hostname, parts.port
        return None


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


def proof(secret: str, nonce: str, port: int) -> str:
    """What a server answers to the ``nonce`` of a client that came from ``port``."""
    return _mac(secret, f"server {nonce} {port}")


def token(secret: str, port: int) -> str:
    """What a client that came from ``port`` sends as its key."""
    return TOKEN_PREFIX + _mac(secret, f"client {port}")


def is_same(given: str, expected: str) -> bool:
    """Whether both are the same, in constant time."""
    return hmac.compare_digest(*(one.encode(errors="surrogatepass") for one in (given, expected)))


def announce(folder: Path, server: RunningServer) -> None:
    """Write the file, for its owner alone; a former one is replaced in one step. Raises OSError."""
    aside = folder / f".{FILE}.{server.pid}.{secrets.token_hex(4)}"
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(server), file)
        aside.replace(folder / FILE)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def withdraw(folder: Path, server: RunningServer) -> None:
    """Remove the file, unless another server has written its own since."""
    if found_in(folder) == server:
        with suppress(OSError):
            (folder / FILE).unlink(missing_ok=True)


def found_in(folder: Path) -> RunningServer | None:
    """The server that is announced there; None without one, and where others could have read the secret."""
    try:
        handle = os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            if not _is_ours_alone(os.fstat(file.fileno())):
                return None
            told = json.loads(file.read(_MOST_BYTES))
        return _read(told)
    except (OSError, ValueError, RecursionError):
        return None


def _is_ours_alone(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _read(told: object) -> RunningServer | None:
    if not isinstance(told, dict):
        return None
    names = ("url", "version", "settings", "secret")
    words = [told.get(name) for name in names]
    pid = told.get("pid")
    if not all(isinstance(word, str) and word for word in words) or not isinstance(pid, int):
        return None
    return RunningServer(pid=pid, **dict(zip(names, map(str, words), strict=True)))


def _mac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
