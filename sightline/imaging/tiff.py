"""TIFF: the full picture, by Pillow where it reads the layout right, else from its samples."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from PIL import ImageFile, TiffImagePlugin

from sightline.errors import ImageRejected
from sightline.imaging import tiff_fields as tags
from sightline.imaging.pillow import put
from sightline.imaging.tiff_colour import as_picture
from sightline.imaging.tiff_fields import Directory, alone, picture_directory
from sightline.imaging.tiff_samples import read_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL._imaging import PixelAccess

_BY_PILLOW: Final = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
_BY_SAMPLES: Final = (1, 5, 8, 32773, 32946, 34925, 50000)
_FILES_INSIDE: Final = (33003, 33005, 34712, 50001)
"""Compressions whose strips are whole files of JPEG 2000 or WebP."""
_JPEG: Final = (6, 7)
_NAMES: Final = {
    2: "fax", 3: "fax", 4: "fax", 6: "old JPEG", 7: "JPEG", 32809: "ThunderScan", 34661: "JBIG",
    34676: "SGI LogLuv", 34677: "SGI LogLuv", 34887: "LERC", 34892: "lossy JPEG (DNG)", 34933: "PNG",
    34934: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_SPACES: Final = {10: "ITU Lab", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw"}
_GREYS, _RGB, _PALETTE, _INKS, _YCC, _LAB, _ICC_LAB = (0, 1), 2, 3, 5, 6, 8, 9
_COLOURS: Final = {0: 1, 1: 1, 4: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCC: 3, _LAB: 3, _ICC_LAB: 3}
"""Photometric interpretations that are read, and their channels."""
_FORMATS: Final = {5: "complex numbers", 6: "complex numbers"}
_MOST_CHANNELS: Final = 64


def open_tiff(data: bytes) -> ImageFile.ImageFile:
    """The full picture in the file, not loaded yet.

    Raises:
        ImageRejected: it is a kind of TIFF that is not supported.
    """
    directory = picture_directory(data)
    if directory is None or not {tags.WIDTH, tags.HEIGHT} <= set(directory.entries):
        return TiffImagePlugin.TiffImageFile(
            BytesIO(data)
        )  # it knows some mistakes of writers; else it says why
    _refuse_unsupported(directory)
    offsets, _ = directory.pieces
    if 0 < len(offsets) < directory.pieces_needed:  # Pillow leaves the rest black
        detail = f"The TIFF file names {len(offsets)} of {directory.pieces_needed} strips or tiles."
        raise ImageRejected("truncated", detail)
    if not _is_read_right(directory):
        return SampledTiff(directory)
    first = not directory.big and _is_first(directory)
    return TiffImagePlugin.TiffImageFile(BytesIO(data if first else alone(directory)))


class SampledTiff(ImageFile.ImageFile):
    """A picture that is read sample by sample when it is loaded."""

    format = "TIFF"
    format_description = "Adobe TIFF"

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        super().__init__(BytesIO(directory.data[:8]))

    def _open(self) -> None:
        directory = self._directory
        width, height = directory.number(tags.WIDTH, 0), directory.number(tags.HEIGHT, 0)
        if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
            raise ImageRejected("unreadable", "The picture of the TIFF file has no size.")
        channels = directory.number(tags.SAMPLES, 1)
        if not _colours(directory) <= channels <= _MOST_CHANNELS:
            detail = f"The TIFF file has {channels} samples a pixel, which do not fit its colour space."
            raise ImageRejected("unreadable", detail)
        self._mode, self._size = "RGB", (width, height)
        self.tile = [ImageFile._Tile("raw", (0, 0, width, height))]
        self.info["exif"] = _orientation(directory.number(tags.ORIENTATION, 1))
        for name, tag in (("icc_profile", tags.PROFILE), ("xmp", tags.XMP)):
            if content := directory.blob(tag):
                self.info[name] = content

    def load(self) -> PixelAccess | None:
        if self.tile:
            profile = self.info.get("icc_profile", b"")
            picture, is_srgb = as_picture(self._directory, read_samples(self._directory), profile)
            put(self, picture)
            if is_srgb:
                self.info.pop("icc_profile", None)
        return super().load()


def _orientation(value: int) -> bytes:
    """EXIF with the one tag; a value that makes no sense means upright, and leaves the word to XMP."""
    return (
        b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1" + value.to_bytes(2, "big") + bytes(6)
        if 1 < value < 9
        else b""
    )


def _colours(directory: Directory) -> int:
    return _COLOURS.get(_photometric(directory), 1)


def _photometric(directory: Directory) -> int:
    """RGB for old JPEG and for what has three channels and does not say."""
    channels = directory.number(tags.SAMPLES, 1)
    return directory.number(tags.PHOTOMETRIC, _RGB if channels >= _COLOURS[_RGB] else 1)


def _refuse_unsupported(directory: Directory) -> None:
    compression, photometric = directory.number(tags.COMPRESSION, 1), _photometric(directory)
    number_format = directory.number(tags.FORMAT, 1)
    what = None
    if compression not in (*_BY_PILLOW, *_FILES_INSIDE):
        what = f"{_NAMES.get(compression, f'unknown ({compression})')} compression"
    elif photometric not in _COLOURS:
        what = f"{_SPACES.get(photometric, f'unknown ({photometric})')} colours"
    elif number_format in _FORMATS:
        what = _FORMATS[number_format]
    elif photometric == _INKS and directory.number(tags.INK_SET, 1) == 2:
        what = "inks other than CMYK"
    elif compression in _JPEG and _bits(directory) not in ((8,), (1,)):
        what = f"{directory.number(tags.BITS, 1)}-bit JPEG"
    if what:
        raise ImageRejected("unsupported", f"TIFF pictures with {what} are not supported.")


def _bits(directory: Directory) -> Sequence[int]:
    return tuple(sorted(set(directory.numbers(tags.BITS) or (1,))))


def _is_read_right(directory: Directory) -> bool:
    """Whether Pillow reads this layout of samples as the tags say."""
    compression, photometric = directory.number(tags.COMPRESSION, 1), _photometric(directory)
    channels = directory.number(tags.SAMPLES, 1)
    if compression in _FILES_INSIDE:
        return False
    if compression not in _BY_SAMPLES:  # JPEG and fax, which libtiff knows best
        return True
    if directory.number(tags.PREDICTOR, 1) != 1 and _bits(directory) != (8,):
        return False  # libtiff takes one on shallow samples for damage
    if directory.number(tags.PREDICTOR, 1) not in (1, 2):
        return False
    if photometric in _GREYS or photometric == _PALETTE:
        shallow = _bits(directory) in ((1,), (2,), (4,), (8,)) and channels == 1
        plain = shallow and directory.number(tags.FORMAT, 1) in (1, 4)
        return plain and not (photometric == _PALETTE and _is_odd_palette(directory))
    if photometric == _YCC and compression == 1:
        return False  # read as if nothing were subsampled
    planar = directory.number(tags.PLANAR, 1) == 2
    known = photometric in (_RGB, _INKS, _YCC, _LAB) and channels <= _COLOURS[photometric] + 1
    return known and not planar and _bits(directory) == (8,) and directory.number(tags.FORMAT, 1) in (1, 4)


def _is_odd_palette(directory: Directory) -> bool:
    """A palette of bytes where 16 bits belong, or samples that run from the lowest bit."""
    return (
        directory.number(tags.FILL_ORDER, 1) == 2 or max(directory.numbers(tags.COLOUR_MAP), default=0) < 256
    )


def _is_first(directory: Directory) -> bool:
    first = next(iter(tags.read_directories(directory.data)), None)
    return first is not None and first.entries == directory.entries
