"""ICC profiles by hand: sRGB's primaries with any gamma, and grey."""

from __future__ import annotations

import struct

WHITE = (0.9642, 1.0, 0.8249)
PRIMARIES = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
"""sRGB's red, green and blue in XYZ, adapted to D50."""


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(value: float) -> bytes:
    if value == 1:
        return b"curv\0\0\0\0" + struct.pack(">I", 0) + bytes(0)
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(value * 256))


def _text(words: str) -> bytes:
    body = words.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(body)) + body + bytes(78)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(content))
        body += padded
    head = (
        struct.pack(">4sI", b"test", 0x02400000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    )
    head += struct.pack(">3i", *(round(value * 65536) for value in WHITE)) + bytes(48)
    whole = head + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole) + 4) + whole


def icc_gamma(gamma: float, primaries: tuple[tuple[float, float, float], ...] = PRIMARIES) -> bytes:
    """An RGB profile."""
    tags = {b"desc": _text(f"gamma {gamma:g}"), b"wtpt": _xyz(WHITE), b"cprt": b"text\0\0\0\0none\0"}
    tags |= {name + b"XYZ": _xyz(value) for name, value in zip((b"r", b"g", b"b"), primaries, strict=True)}
    tags |= {name + b"TRC": _gamma(gamma) for name in (b"r", b"g", b"b")}
    return _profile(b"RGB ", tags)


def icc_grey(gamma: float) -> bytes:
    """A grey profile."""
    tags = {b"desc": _text(f"grey {gamma:g}"), b"wtpt": _xyz(WHITE), b"cprt": b"text\0\0\0\0none\0"}
    return _profile(b"GRAY", tags | {b"kTRC": _gamma(gamma)})
