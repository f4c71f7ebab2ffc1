"""Bytes to safe RGB: formats, limits and a decode process of its own. The one way in for everybody.

``decode`` works in this process and suits trusted pictures; ``IsolatedDecoder`` keeps the caller alive
whatever the bytes do. The names below are loaded on first use: reading the limits needs neither Pillow nor
numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.imaging.decoded import Decoded as Decoded
    from sightline.imaging.decoding import decode as decode
    from sightline.imaging.decoding import rgb_of as rgb_of
    from sightline.imaging.isolated import IsolatedDecoder as IsolatedDecoder
    from sightline.imaging.limits import Limits as Limits

_WHERE = {
    "Decoded": "sightline.imaging.decoded",
    "IsolatedDecoder": "sightline.imaging.isolated",
    "Limits": "sightline.imaging.limits",
    "decode": "sightline.imaging.decoding",
    "rgb_of": "sightline.imaging.decoding",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'sightline.imaging' has no attribute {name!r}")
