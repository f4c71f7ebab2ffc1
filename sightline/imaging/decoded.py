"""What decoding gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.types import RGB


@dataclass(frozen=True, eq=False)
class Decoded:
    """One picture, upright: ``rgb`` is uint8 in sRGB, ``thumbnail`` a WebP file.

    ``width`` and ``height`` are the picture's own. ``rgb`` is [height, width, 3], or smaller by a whole
    factor when the picture has more than ``Limits.whole_pixels``; of a camera raw it may be the preview
    inside of the file, which is smaller too. ``format`` is Pillow's word for the file's format (``JPEG``,
    ``PNG``, …; ``HEIF``, ``JXL``, ``RAW``), ``cpu_seconds`` the processor time in a process of its own.
    """

    rgb: RGB
    width: int
    height: int
    format: str
    thumbnail: bytes
    cpu_seconds: float = 0.0
