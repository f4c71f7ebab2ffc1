"""GIF and WebP whose first frame does not cover the canvas: what lies outside is transparent."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import GifImagePlugin, WebPImagePlugin

from sightline.imaging.pillow import clear_outside

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


def open_gif(data: bytes) -> GifImagePlugin.GifImageFile:
    """The first frame on its canvas, not loaded yet."""
    return ClaimedGif(BytesIO(data))


def open_webp(data: bytes) -> WebPImagePlugin.WebPImageFile:
    """The first frame on its canvas, not loaded yet."""
    opened = ClaimedWebP(BytesIO(data))
    opened.first_frame = _first_frame(data)
    return opened


class ClaimedGif(GifImagePlugin.GifImageFile):
    """Pillow fills the rest of the canvas with the palette's first colour."""

    def load(self) -> PixelAccess | None:
        fresh = bool(self.tile)
        access = super().load()
        box = self.dispose_extent
        if not fresh or box is None or _covers(box, self.size):
            return access
        clear_outside(self, box)
        return super().load()


class ClaimedWebP(WebPImagePlugin.WebPImageFile):
    """Pillow leaves the rest of the canvas black in files that say nothing of transparency."""

    first_frame: Box | None = None

    def load(self) -> PixelAccess | None:
        access = super().load()
        box, self.first_frame = self.first_frame, None
        if box is None or _covers(box, self.size):
            return access
        clear_outside(self, box)
        return super().load()


def _covers(box: Box, size: tuple[int, int]) -> bool:
    return box[0] <= 0 and box[1] <= 0 and box[2] >= size[0] and box[3] >= size[1]


def _first_frame(data: bytes) -> Box | None:
    """Where the first frame of an animation lies; None in a still picture."""
    at = 12
    while at + 24 <= len(data):
        if data[at : at + 4] == b"ANMF":
            left, top, width, height = (
                int.from_bytes(data[place : place + 3], "little") for place in range(at + 8, at + 20, 3)
            )
            return 2 * left, 2 * top, 2 * left + width + 1, 2 * top + height + 1
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return None
