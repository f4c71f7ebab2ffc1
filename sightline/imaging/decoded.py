"""What decoding gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.types import RGB


@dataclass(frozen=True, eq=False)
class Decoded:
    """One picture, upright: ``rgb`` is [height, width, 3] uint8 in sRGB, ``thumbnail`` a WebP file.

    ``format`` is Pillow's word for the file's format (``JPEG``, ``PNG``, …).
    """

    rgb: RGB
    width: int
    height: int
    format: str
    thumbnail: bytes
