"""One door to every format: what a file says about itself decides how it is read.

Pillow's plugins trust what their libraries return. Where the file says something else (another directory,
depth, canvas, crop or kind), a reader of ours takes its place; it is a picture of Pillow all the same, and
loads lazily.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from sightline.errors import ImageRejected
from sightline.imaging.avif import open_avif
from sightline.imaging.formats import broken_format, decodable
from sightline.imaging.frames import open_gif, open_webp
from sightline.imaging.heif import open_heif
from sightline.imaging.jpeg import open_jpeg
from sightline.imaging.jxl import open_jxl
from sightline.imaging.pfm import PfmFile, is_pfm
from sightline.imaging.png import open_png
from sightline.imaging.psd import unsupported_psd
from sightline.imaging.raw import open_raw, raw_kind
from sightline.imaging.tiff import open_tiff

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.ImageFile import ImageFile

_HEAD = 64
_AVIF_BRANDS = (b"avif", b"avis")
_OPENERS: dict[str, tuple[str, Callable[[bytes], ImageFile]]] = {
    "JPEG": ("JPEG", open_jpeg),
    "PNG": ("PNG", open_png),
    "GIF": ("GIF", open_gif),
    "WebP": ("WEBP", open_webp),
    "AVIF": ("AVIF", open_avif),
    "TIFF": ("TIFF", open_tiff),
}
"""Format by signature → Pillow's word for it, and what reads it."""
_BY_OTHERS: dict[str, Callable[[bytes], ImageFile]] = {"HEIF": open_heif, "JPEG XL": open_jxl}
"""Formats that no plugin of Pillow's own reads."""


def open_as_claimed(data: bytes) -> ImageFile:
    """Read the header. Formats that pass for anything, or that start other programs, are not tried.

    Raises:
        ImageRejected: the file says that it is of a kind that is not supported.
        Exception: whatever Pillow raises for a file that is broken, or no picture.
    """
    if raw := raw_kind(data):
        return open_raw(data, raw)
    head = "AVIF" if _is_avif(data) else broken_format(data[:_HEAD]) or ""
    if head in _BY_OTHERS:
        return _BY_OTHERS[head](data)
    plugin, opener = _OPENERS.get(head, ("", None))
    if opener is not None and plugin in decodable():
        return opener(data)
    if head == "PSD" and (kind := unsupported_psd(data)):
        raise ImageRejected("unsupported", f"{kind} pictures are not supported.")
    if is_pfm(data):
        return PfmFile(BytesIO(data))
    return Image.open(BytesIO(data), formats=decodable())


def _is_avif(data: bytes) -> bool:
    """Whether the file names AVIF among its brands, as its first one or behind a common one."""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), _HEAD)]
    return data[4:8] == b"ftyp" and any(
        brands[at : at + 4] in _AVIF_BRANDS for at in range(0, len(brands), 4)
    )
