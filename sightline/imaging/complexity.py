"""What a file may hold beside its pixels: refused before decoding when it is made to be slow.

Pixels are bounded by the header. What is not: scans of a JPEG (each passes over the whole picture), segments
before its first scan, and chunks of a PNG, some of which inflate. Whatever else can be repeated (comments,
tags, strips, entries of an icon) has to stand in the file byte by byte, and the clock ends it.
"""

from __future__ import annotations

import re
from typing import Final

from sightline.errors import ImageRejected

MAX_SCANS: Final = 100
"""Scans of one JPEG: encoders write about 10, optimisers up to 64."""
FEW_SCANS: Final = 16
MAX_SCANNED_MEGAPIXELS: Final = 1600
"""Scans × megapixels of a JPEG with more than `FEW_SCANS`: a scan takes about 0.7 ms for a megapixel."""
MAX_SEGMENTS: Final = 4096
"""Segments of a JPEG before its first scan: metadata of 256 MB."""
MAX_CHUNKS: Final = 10_000
"""Chunks of a PNG, those with pixels not counted."""
MAX_PROFILES: Final = 8
"""Colour profiles of a PNG; the format allows one, and each inflates to a megabyte."""

_SOS, _EOI = 0xDA, 0xD9
_MARKER: Final = re.compile(rb"\xff+([\x01-\xfe])")
_BARE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a length: TEM, restarts, start of image."""


def check_structure(data: bytes) -> None:
    """Look at a file whose header was not read yet.

    Raises:
        ImageRejected: ``too_complex``, with the numbers.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        _check_chunks(data)
    elif data[:2] == b"\xff\xd8":
        _check_segments(data)


def check_scans(data: bytes, pixels: int) -> None:
    """Look at a JPEG of so many pixels.

    Raises:
        ImageRejected: ``too_complex``, with the numbers.
    """
    most = min(MAX_SCANS, max(FEW_SCANS, int(MAX_SCANNED_MEGAPIXELS * 1e6 / max(1, pixels))))
    # The bytes of the marker can stand elsewhere too (in a preview), so the cheap count is an upper bound.
    if data.count(b"\xff\xda") > most and has_more_scans(data, most):
        raise ImageRejected(
            "too_complex",
            f"The JPEG has more than {most} scans; at most that many are decoded at {pixels / 1e6:.1f} "
            "megapixels. Save it again with fewer.",
        )


def has_more_scans(data: bytes, most: int) -> bool:
    """Whether the first picture of a JPEG file has more scans than that."""
    at, scans = 2, 0
    while (found := _MARKER.search(data, at)) is not None:
        marker = found[1][0]
        if marker == _EOI:
            return False
        scans += marker == _SOS
        if scans > most:
            return True
        at = found.end() if marker in _BARE else found.end() + _length(data, found.end())
    return False


def _check_segments(data: bytes) -> None:
    at = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.match(data, at)
        if found is None or found[1][0] in (_SOS, _EOI):
            return
        at = found.end() if found[1][0] in _BARE else found.end() + _length(data, found.end())
    raise ImageRejected(
        "too_complex", f"The JPEG has more than {MAX_SEGMENTS:,} segments before its first pixel."
    )


def _length(data: bytes, at: int) -> int:
    """Of a segment, as it says; two bytes at least, so that every step goes on."""
    return max(2, int.from_bytes(data[at : at + 2], "big"))


def _check_chunks(data: bytes) -> None:
    at, others, profiles = 8, 0, 0
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return
        others += kind != b"IDAT"
        profiles += kind == b"iCCP"
        if others > MAX_CHUNKS:
            raise ImageRejected(
                "too_complex", f"The PNG has more than {MAX_CHUNKS:,} chunks beside its pixels."
            )
        if profiles > MAX_PROFILES:
            raise ImageRejected("too_complex", f"The PNG has more than {MAX_PROFILES} colour profiles.")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
