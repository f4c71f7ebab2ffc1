"""Who reaches a server: nobody beyond this machine, unless callers need a key or somebody insists."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sightline.api.clients import is_here
from sightline.errors import InputError

if TYPE_CHECKING:
    from sightline.settings import Settings


def check_exposure(listener: socket.socket, settings: Settings) -> str | None:
    """A warning where other machines are served without a key on purpose; ``listener`` is bound.

    Raises:
        InputError: they would be, and nobody insisted.
    """
    address = listener.getsockname()[0]
    if settings.api.key is not None or is_here(address) or has_keys(settings):
        return None
    if not settings.api.insecure:
        raise InputError(
            f"Whoever reaches {address} could do everything, because there is no key: "
            "set SIGHTLINE_API__KEY, make one with `sightline keys create`, listen on 127.0.0.1, or insist "
            "with --insecure."
        )
    return f"Warning: whoever reaches {address} may do everything, because there is no key."


def has_keys(settings: Settings) -> bool:
    """Whether the catalog has, or ever had, keys. Makes none where there is none."""
    from sightline.store.portable import sqlite_file
    from sightline.wiring import open_installation

    file = sqlite_file(settings.catalog_url)
    if file is not None and not file.exists():
        return False
    with open_installation(settings) as services:
        return services.catalog.known_keys().ever
