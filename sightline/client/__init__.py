"""A client of a running server: ``Client`` and ``AsyncClient``. Loads neither torch nor the web framework.

Each name is loaded at its first use: the command line speaks to its own server without httpx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.client.http import AsyncClient as AsyncClient
    from sightline.client.http import Client as Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("sightline.client.http"), name)
    raise AttributeError(f"module 'sightline.client' has no attribute {name!r}")
