"""JPEG XL, read by libjxl; a JPEG that was packed into one comes out as that JPEG."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NoReturn

from PIL import Image, ImageFile

from sightline.errors import ImageRejected
from sightline.imaging.colour import turned
from sightline.imaging.depth import SIXTEEN_BITS, range_of, scaled
from sightline.imaging.jpeg import open_jpeg
from sightline.imaging.jxl_header import read_header
from sightline.imaging.lengths import content_is_cut
from sightline.imaging.lit import eight_bits
from sightline.imaging.pillow import put
from sightline.imaging.profiles import light_of_profile

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

_MODES: Final = ("L", "LA", "RGB", "RGBA")
_DEEP: Final = {"I;16": "<u2", "F": "<f4", "F;16": "<f4"}
"""Modes of grey, and the numbers in which it comes; those of real numbers reach from 0 to 1."""
_PANIC: Final = "PanicException"
"""What a failed assertion in Rust becomes; it is no Exception."""


def open_jxl(data: bytes) -> JxlFile:
    """The picture, or the first frame of several; not decoded yet."""
    return JxlFile(BytesIO(data))


class JxlFile(ImageFile.ImageFile):
    """Only the header is read when it is opened. libjxl turns the picture as the header says."""

    format = "JXL"
    format_description = "JPEG XL"

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        self._header = read_header(self._data)
        self._mode, self._size = "RGB", self._header.upright
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size))]

    def load(self) -> PixelAccess | None:
        if self.tile:
            is_jpeg, info, pixels, profile, _ = _decoded(self._data)
            self._data = b""
            picture = self._unpacked(pixels) if is_jpeg else self._from_samples(info, pixels, profile)
            if picture.size != self.size:  # limits were judged by what the header said
                said = f"{self.width} × {self.height}"
                raise ImageRejected("unreadable", f"The JPEG XL file says {said} pixels and holds others.")
            put(self, picture)
        return super().load()

    def _from_samples(self, info: Any, pixels: bytes, profile: bytes) -> Image.Image:
        """Colour comes with 8 bits; grey at its full depth, and its profile is followed here."""
        size = (info.width, info.height)
        if info.mode in _DEEP:
            return _deep_grey(info.mode, size, pixels, profile)
        if info.mode not in _MODES:
            raise ImageRejected("unsupported", f"JPEG XL of the kind {info.mode} is not supported.")
        if profile:
            self.info["icc_profile"] = profile
        return Image.frombytes(info.mode, size, pixels)

    def _unpacked(self, data: bytes) -> Image.Image:
        """The JPEG of which this was made. Its header's word for upright counts, not the JPEG's own."""
        jpeg = open_jpeg(data)
        jpeg.load()
        if profile := jpeg.info.get("icc_profile"):
            self.info["icc_profile"] = profile
        return turned(jpeg, self._header.orientation)


def _deep_grey(mode: str, size: tuple[int, int], pixels: bytes, profile: bytes) -> Image.Image:
    import numpy as np

    values = np.frombuffer(pixels, _DEEP[mode]).reshape(size[1], size[0], 1)
    if values.dtype.kind == "f":
        values = scaled(values, range_of(values), SIXTEEN_BITS, np.uint16)
    return eight_bits(values, 16, light_of_profile(profile, 1) if profile else None)


def _decoded(data: bytes) -> tuple[bool, Any, bytes, bytes, Any]:
    """What the decoder gives, in this thread: is it a JPEG, size and mode, bytes, ICC profile, boxes."""
    from pillow_jxl import Decoder

    try:
        found: tuple[bool, Any, bytes, bytes, Any] = Decoder(num_threads=0)(data)
        return found
    except MemoryError:
        raise
    except Exception as error:
        _refuse(data, error)
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        _refuse(data, error)


def _refuse(data: bytes, error: BaseException) -> NoReturn:
    if content_is_cut(data):
        raise ImageRejected("truncated", "The JPEG XL file ends too early.") from error
    said = str(error).partition(". ")[0].strip().rstrip(".")[:200] or type(error).__name__
    raise ImageRejected("unreadable", f"The JPEG XL file is broken or cut off: {said}.") from error
