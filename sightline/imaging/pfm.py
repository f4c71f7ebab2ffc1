"""PFM, the float picture of the PNM family: Pillow reads it in grey only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageFile

from sightline.errors import ImageRejected
from sightline.imaging.depth import stretched
from sightline.imaging.pillow import put

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL._imaging import PixelAccess

_CHANNELS: Final = {b"Pf": 1, b"PF": 3}
_HEAD: Final = 200
"""Bytes that the header may take."""


def is_pfm(data: bytes) -> bool:
    """Whether the file begins like one."""
    return data[:2] in _CHANNELS and data[2:3].isspace()


class PfmFile(ImageFile.ImageFile):
    """Rows from the bottom, 32-bit floats; the sign of the scale is the byte order."""

    format = "PPM"
    format_description = "Portable float map"

    def _open(self) -> None:
        assert self.fp is not None
        words, place = _words(self.fp.read(_HEAD))
        self._channels = _CHANNELS[words[0]]
        try:
            width, height, scale = int(words[1]), int(words[2]), float(words[3])
        except ValueError:
            raise ImageRejected("unreadable", "The header of the PFM file holds no numbers.") from None
        if width <= 0 or height <= 0 or scale == 0:
            raise ImageRejected("unreadable", "The numbers in the header of a PFM file must not be 0.")
        self._mode, self._size = "RGB" if self._channels == 3 else "L", (width, height)
        self._order = "<" if scale < 0 else ">"
        self.tile = [ImageFile._Tile("raw", (0, 0, width, height), place)]

    def load(self) -> PixelAccess | None:
        if self.tile:
            values = self._values(self.tile[0].offset)
            put(self, Image.fromarray(stretched(values[..., 0] if self._channels == 1 else values)))
        return super().load()

    def _values(self, place: int) -> NDArray[np.float32]:
        import numpy as np

        assert self.fp is not None
        self.fp.seek(place)
        count = self.width * self.height * self._channels
        data = self.fp.read(4 * count)
        if len(data) < 4 * count:
            raise ImageRejected("truncated", f"The PFM file has {len(data)} of {4 * count} bytes of pixels.")
        return np.frombuffer(data, self._order + "f4").reshape(self.height, self.width, self._channels)[::-1]


def _words(head: bytes) -> tuple[list[bytes], int]:
    """The four words of the header, and where the pixels begin: behind one blank."""
    words: list[bytes] = []
    at = 0
    while len(words) < 4:
        while head[at : at + 1].isspace():
            at += 1
        end = at
        while end < len(head) and not head[end : end + 1].isspace():
            end += 1
        if end in (at, len(head)):
            raise ImageRejected("truncated", "The PFM file ends inside of its header.")
        words.append(head[at:end])
        at = end
    return words, at + 1
