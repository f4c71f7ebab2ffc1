"""Says in the data folder that a server serves it, so that commands on this machine ask that one."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sightline.running_server import RunningServer, announce, new_secret, withdraw
from sightline.version import __version__

if TYPE_CHECKING:
    from sightline.settings import Settings

AROUND: Final = frozenset({
    "api", "broker", "builder", "decoding", "fetch", "indexer", "log", "saved", "up",
})  # fmt: skip
"""Groups of settings that no answer of a search depends on."""
log = logging.getLogger(__name__)


def new_server(url: str, settings: Settings) -> RunningServer:
    """This process as the server of a data folder, with a secret of its own."""
    secret = new_secret()
    return RunningServer(url, os.getpid(), __version__, answering(settings, secret), secret)


@contextmanager
def announced(server: RunningServer, settings: Settings) -> Iterator[None]:
    """In the data folder while the block lasts. One beyond loopback alone is not: nobody could prove it."""
    if server.address is not None:
        try:
            announce(settings.data_folder, server)
        except OSError as error:
            log.warning("Commands will not find this server: %s", error)
    try:
        yield
    finally:
        withdraw(settings.data_folder, server)


def answering(settings: Settings, secret: str) -> str:
    """A digest of the settings that answers depend on: two processes with the same answer alike.

    Keyed, because a setting may hold a password.
    """
    from sightline.settings import PREFIX, knobs

    around = tuple(f"{PREFIX}{name.upper()}__" for name in AROUND)
    told = {one.variable: _plain(one.value) for one in knobs(settings) if not one.variable.startswith(around)}
    places = {
        "DATA": str(settings.data_folder),
        "SEGMENTS": str(settings.segments_folder),
        "GENERATIONS": str(settings.generations_folder),
        "ORIGINALS": settings.originals_url,
    }
    told |= {f"{PREFIX}{name}": at if "://" in at else os.path.realpath(at) for name, at in places.items()}
    return hmac.new(secret.encode(), json.dumps(told, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _plain(value: object) -> str:
    """A value as text. What names a file here means another one in another folder: it is told in full."""
    text = str(value)
    is_path = isinstance(value, str | os.PathLike) and text and os.path.exists(text)
    return os.path.realpath(text) if is_path else text
