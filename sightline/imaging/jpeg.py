"""JPEG as its markers describe it."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import JpegImagePlugin

from sightline.errors import ImageRejected

_LOSSLESS: Final = (0xC3, 0xCB)
_HIERARCHICAL: Final = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE)
_JPEG_LS: Final = 0xF7
_FRAMES: Final = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA, *_LOSSLESS, *_HIERARCHICAL, _JPEG_LS)
_WITHOUT_LENGTH: Final = (0x01, *range(0xD0, 0xD9))
_START_OF_SCAN: Final = 0xDA


def open_jpeg(data: bytes) -> JpegImagePlugin.JpegImageFile:
    """The first picture in the file, not loaded yet. What an index of further pictures says is not read.

    Raises:
        ImageRejected: it is a kind of JPEG that is not supported.
    """
    if kind := _unsupported(data):
        raise ImageRejected("unsupported", f"{kind} pictures are not supported.")
    return JpegImagePlugin.JpegImageFile(BytesIO(data))


def _unsupported(data: bytes) -> str | None:
    """What kind of JPEG it is, when nobody here decodes it."""
    marker, at = _frame(data)
    if marker in _LOSSLESS:
        return "Lossless JPEG"
    if marker in _HIERARCHICAL:
        return "Hierarchical JPEG"
    if marker == _JPEG_LS:
        return "JPEG-LS"
    if marker is None or at + 10 > len(data):
        return None
    bits, components = data[at + 4], data[at + 9]
    if bits != 8:
        return f"{bits}-bit JPEG"
    return None if components in (1, 3, 4) else f"JPEG ({components} components)"


def _frame(data: bytes) -> tuple[int | None, int]:
    """The marker that starts the frame, and where it stands; None when there is none before the scan."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(b"\xff", at) % (len(data) + 1)  # no more: the end
            continue
        marker = data[at + 1]
        if marker in _FRAMES:
            return marker, at
        if marker == _START_OF_SCAN:
            break
        if marker in (0xFF, 0) or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None, at
