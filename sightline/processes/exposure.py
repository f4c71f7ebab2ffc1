"""Who reaches a server: nobody beyond this machine, unless callers need a key or somebody insists."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from sightline.errors import InputError

if TYPE_CHECKING:
    from sightline.api.settings import ApiSettings


def is_open(settings: ApiSettings, has_keys: bool = False) -> bool:
    """Whether whoever reaches the port may do everything. ``has_keys``: there are other keys."""
    return settings.key is None and not has_keys


def check_exposure(listener: socket.socket, settings: ApiSettings, has_keys: bool = False) -> str | None:
    """A warning where other machines are served without a key on purpose; ``listener`` is bound.

    Raises:
        InputError: they would be, and nobody insisted.
    """
    address = listener.getsockname()[0]
    if not is_open(settings, has_keys) or is_this_machine(address):
        return None
    if not settings.insecure:
        raise InputError(
            f"Whoever reaches {address} could do everything, because no key is set; set SIGHTLINE_API__KEY, "
            "listen on 127.0.0.1, or insist with --insecure."
        )
    return f"Warning: whoever reaches {address} may do everything, because no key is set."


def is_this_machine(address: str) -> bool:
    """Whether only this machine reaches what listens on this IP address."""
    found = ip_address(address.partition("%")[0])
    return found.is_loopback
