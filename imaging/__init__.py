"""Bytes to safe RGB: formats, limits and a decode process of its own. The one way in for everybody.

``decode`` works in this process and suits trusted pictures; ``IsolatedDecoder`` keeps the caller alive
whatever the bytes do. The names below are loaded on first use: reading the limits needs neither Pillow nor
numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imaging.decoded import Decoded as Decoded
    from imaging.decoding import decode as decode
    from imaging.decoding import rgb_of as rgb_of
    from imaging.isolated import IsolatedDecoder as IsolatedDecoder
    from imaging.limits import Limits as Limits

_WHERE = {
    "Decoded": "imaging.decoded",
    "IsolatedDecoder": "imaging.isolated",
    "Limits": "imaging.limits",
    "decode": "imaging.decoding",
    "rgb_of": "imaging.decoding",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'imaging' has no attribute {name!r}")
