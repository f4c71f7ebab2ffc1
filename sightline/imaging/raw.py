"""Camera raws, read by LibRaw (`rawpy`, extra ``raw``): the camera's own JPEG in the file, else the sensor.

The JPEG is how the photographer saw the picture; it is taken when it is large enough for everything that is
done with pictures here. A thumbnail is never taken for the picture.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageFile

from sightline.errors import ImageRejected
from sightline.imaging.formats import BY_OTHERS
from sightline.imaging.jpeg import open_jpeg
from sightline.imaging.pillow import put
from sightline.imaging.tiff_fields import camera_raw

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

_HEAD: Final = 64
_LARGE_ENOUGH: Final = 1600
"""Pixels of a preview's longer side; or half of the sensor's, whichever is less."""
_HALVED_ABOVE: Final = 4_000_000
"""Sensors with more pixels give one pixel for each square of four: red, green and blue need no guessing."""
_ORIENTATIONS: Final = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""LibRaw's word for which way is up → EXIF's."""
_ORIENTATION: Final = 0x0112
_SENSOR_BYTES, _WORK_BYTES, _MOST_PIXELS = 4, 14, 1 << 31
"""Memory for each pixel of the sensor, and for each one that is made of them."""
_SRGB_CURVE: Final = (2.4, 12.92)


def raw_kind(data: bytes) -> str | None:
    """``camera raw (DNG)`` and the like, when the file is one."""
    head = data[:_HEAD]
    named = next((one.name for one in BY_OTHERS if "raw" in one.name and one.fits(head)), None)
    return named or camera_raw(data)


def open_raw(data: bytes, kind: str) -> RawFile:
    """The picture, not decoded yet.

    Raises:
        ImageRejected: it cannot be read, or what reads it is not installed.
    """
    try:
        import rawpy
    except ImportError:
        detail = f"The file is a {kind}: install sightline[raw] to read it, or export it as JPEG or TIFF."
        raise ImageRejected("unsupported", detail) from None
    try:
        return RawFile(data, rawpy.imread(BytesIO(data)), kind)
    except rawpy.LibRawError as error:
        raise _rejection(kind, error) from error


class RawFile(ImageFile.ImageFile):
    """The preview, or what the sensor saw."""

    format = "RAW"
    format_description = "Camera raw"

    def __init__(self, data: bytes, raw: Any, kind: str) -> None:
        self._raw, self._kind = raw, kind
        super().__init__(BytesIO(data[:8]))

    def _open(self) -> None:
        sizes = self._raw.sizes
        self.full_size: tuple[int, int] = (sizes.width, sizes.height)
        """Width and height of the sensor's picture, not turned; the preview may be smaller."""
        if not 0 < sizes.width * sizes.height < _MOST_PIXELS:
            raise ImageRejected("unreadable", f"The picture of the {self._kind} has no size.")
        self._preview = self._large_preview()
        self._is_halved = False
        self.work_bytes = 0
        """Memory that decoding takes beside the picture."""
        self._mode, self._size = "RGB", self.full_size
        orientation = _ORIENTATIONS.get(sizes.flip, 1)
        if self._preview is not None:
            self._size = self._preview.size
            orientation = _way_up(self._preview, self.full_size, orientation)
            if profile := self._preview.info.get("icc_profile"):
                self.info["icc_profile"] = profile
        else:
            self._plan_sensor()
        self.info["exif"] = exif_of(orientation)
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size))]

    def load(self) -> PixelAccess | None:
        if self.tile:
            if self._preview is not None:
                self._preview.load()
                put(self, self._preview)
            else:
                put(self, self._developed())
            self._raw.close()
        return super().load()

    def _large_preview(self) -> ImageFile.ImageFile | None:
        """The JPEG inside of the file when it is no thumbnail and reads like one of ours."""
        import rawpy

        try:
            found = self._raw.extract_thumb()
        except (rawpy.LibRawError, rawpy.NotSupportedError):
            return None
        if found.format != rawpy.ThumbFormat.JPEG:
            return None
        try:
            preview = open_jpeg(bytes(found.data))
        except (ImageRejected, OSError, SyntaxError, ValueError):
            return None
        enough = min(_LARGE_ENOUGH, max(self.full_size) // 2)
        return preview if enough <= max(preview.size) <= 2 * max(self.full_size) else None

    def _plan_sensor(self) -> None:
        width, height = self.full_size
        pattern = self._raw.raw_pattern
        self._is_halved = (
            width * height > _HALVED_ABOVE and pattern is not None and tuple(pattern.shape) == (2, 2)
        )
        if self._is_halved:
            self._size = (-(-width // 2), -(-height // 2))
        sensor = self._raw.sizes.raw_width * self._raw.sizes.raw_height
        self.work_bytes = _SENSOR_BYTES * sensor + _WORK_BYTES * self._size[0] * self._size[1]

    def _developed(self) -> Image.Image:
        """The sensor's values in sRGB, with the camera's white; not turned."""
        import rawpy

        try:
            rgb = self._raw.postprocess(
                half_size=self._is_halved,
                use_camera_wb=True,
                output_color=rawpy.ColorSpace.sRGB,
                output_bps=8,
                gamma=_SRGB_CURVE,
                user_flip=0,
            )
        except rawpy.LibRawError as error:
            raise _rejection(self._kind, error) from error
        return Image.fromarray(rgb[..., 0] if rgb.shape[-1] == 1 else rgb)


def exif_of(orientation: int) -> bytes:
    """EXIF that holds the orientation and nothing else."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return exif.tobytes()


def _way_up(preview: ImageFile.ImageFile, sensor: tuple[int, int], orientation: int) -> int:
    """EXIF's word for the preview: its own, else the sensor's; none when the camera has turned it already.

    LibRaw writes the sensor's into a preview that says nothing.
    """
    own = preview.getexif().get(_ORIENTATION)
    found = own if isinstance(own, int) and 1 <= own <= 8 else orientation
    is_turned = (preview.width > preview.height) != (sensor[0] > sensor[1])
    return 1 if is_turned and found > 4 else found


def _rejection(kind: str, error: Exception) -> ImageRejected:
    """The reason code for what LibRaw raised."""
    import rawpy

    said = str(error.args[0]) if error.args else str(error)
    said = said.removeprefix("b'").removesuffix("'").rstrip(".")
    if isinstance(error, rawpy.LibRawFileUnsupportedError):
        return ImageRejected("unsupported", f"The file is a {kind} of a kind that LibRaw does not read.")
    if isinstance(error, (rawpy.LibRawIOError, rawpy.LibRawInputClosedError)):
        return ImageRejected("truncated", f"The {kind} ends too early: {said}.")
    return ImageRejected("unreadable", f"The {kind} is broken: {said}.")
