"""JPEG XL, read by libjxl; a JPEG that was packed into one comes out as that JPEG."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NoReturn

from PIL import Image, ImageFile

from sightline.errors import ImageRejected
from sightline.imaging.colour import turned
from sightline.imaging.jpeg import open_jpeg
from sightline.imaging.jxl_header import read_header
from sightline.imaging.lengths import content_is_cut
from sightline.imaging.pillow import put

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

_MODES: Final = {"L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "I;16": "I;16", "F": "F", "F;16": "F"}
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
            picture = self._unpacked(bytes(pixels)) if is_jpeg else self._from_samples(info, pixels)
            if picture.size != self.size:  # limits were judged by what the header said
                said = f"{self.width} × {self.height}"
                raise ImageRejected("unreadable", f"The JPEG XL file says {said} pixels and holds others.")
            if profile and not is_jpeg:
                self.info["icc_profile"] = bytes(profile)
            put(self, picture)
        return super().load()

    def _from_samples(self, info: Any, pixels: bytes) -> Image.Image:
        mode = _MODES.get(info.mode)
        if mode is None:
            raise ImageRejected("unsupported", f"JPEG XL of the kind {info.mode} is not supported.")
        return Image.frombytes(mode, (info.width, info.height), pixels)

    def _unpacked(self, data: bytes) -> Image.Image:
        """The JPEG of which this was made. Its header's word for upright counts, not the JPEG's own."""
        jpeg = open_jpeg(data)
        jpeg.load()
        if profile := jpeg.info.get("icc_profile"):
            self.info["icc_profile"] = profile
        return turned(jpeg, self._header.orientation)


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
    said = " ".join(str(error).split())[:200] or type(error).__name__
    if content_is_cut(data):
        raise ImageRejected("truncated", "The JPEG XL file ends too early.") from error
    raise ImageRejected("unreadable", f"The JPEG XL file is broken: {said.rstrip('.')}.") from error
