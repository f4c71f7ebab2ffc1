"""Thumbnails of ours, read again."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from sightline.errors import CorruptionError


def read_thumbnail(data: bytes) -> Image.Image:
    """A stored thumbnail in RGB. It is our own file, sealed: it needs no process of its own.

    Raises CorruptionError when it is no WebP file.
    """
    try:
        with Image.open(BytesIO(data), formats=["WEBP"]) as opened:
            return opened.convert("RGB")
    except Exception as error:  # Pillow raises far more than OSError
        raise CorruptionError("A thumbnail cannot be read: it is no WebP picture.") from error
