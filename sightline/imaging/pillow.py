"""Two small operations on pictures of Pillow that its public interface lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


def put(opened: ImageFile, picture: Image.Image) -> None:
    """Make ``picture`` the loaded content of ``opened``; what is known about the file stays."""
    opened.im = picture.im
    opened._mode, opened._size = picture.mode, picture.size
    opened.palette, opened.tile = picture.palette, []
    opened.readonly = 0


def clear_outside(opened: ImageFile, box: tuple[int, int, int, int]) -> None:
    """Make all that lies outside of ``box`` (left, top, right, bottom) of a loaded picture transparent."""
    picture = opened.convert("RGBA")
    mask = Image.new("L", picture.size)
    mask.paste(255, box)
    clear = Image.new("RGBA", picture.size)
    clear.paste(picture, mask=mask)
    opened.info.pop("transparency", None)
    put(opened, clear)
