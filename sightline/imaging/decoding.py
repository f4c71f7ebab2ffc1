"""Bytes to one upright RGB picture in this process, or one ImageRejected that says why not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, UnidentifiedImageError

from sightline.errors import ImageRejected
from sightline.imaging.budget import check_memory
from sightline.imaging.colour import lies_on_its_side, to_upright_rgb
from sightline.imaging.complexity import check_scans, check_structure
from sightline.imaging.decoded import Decoded
from sightline.imaging.formats import broken_format, unsupported_format
from sightline.imaging.kinds import HEAD, other_kind
from sightline.imaging.lengths import is_shorter_than_declared
from sightline.imaging.limits import Limits
from sightline.imaging.opening import open_as_claimed
from sightline.imaging.own_errors import own_mistake
from sightline.imaging.reducing import upright_rgb_within

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from sightline.types import RGB

log = logging.getLogger(__name__)

_TOO_FEW = re.compile("truncated|not enough image data", re.IGNORECASE)
TOO_MUCH_MEMORY = (
    "Decoding the picture takes more memory than its size explains, or than it may take "
    "(SIGHTLINE_IMAGING__MEMORY_BYTES)."
)
_THUMBNAIL_QUALITY = 80
_THUMBNAIL_EFFORT = 2
"""Of 0…6. On photos 2 takes less than half of the time of the default (4), for files 2 % larger."""


class Upright(NamedTuple):
    """RGB of Pillow, reduced when it would be too large; the picture's own size, and its format."""

    rgb: Image.Image
    width: int
    height: int
    format: str


def decode(data: bytes, limits: Limits | None = None) -> Decoded:
    """Decode one picture here, without a clock, a memory limit or protection from crashes.

    Raises:
        ImageRejected: whatever is wrong with the bytes.
    """
    import numpy as np

    limits = limits or Limits()
    found = decode_picture(data, limits)
    thumbnail = make_thumbnail(found.rgb, limits.thumbnail_side)
    return Decoded(np.array(found.rgb), found.width, found.height, found.format, thumbnail)


def decode_picture(
    data: bytes, limits: Limits, on_header: Callable[[ImageFile], None] = lambda opened: None
) -> Upright:
    """The picture, upright. ``on_header`` is called before a pixel is. Raises only ImageRejected."""
    check_bytes(data, limits)
    name = ""
    try:
        check_structure(data)
        with open_as_claimed(data) as opened:
            name = opened.format or ""
            size = _own_size(opened)
            _check_pixels(size, limits)
            if name in ("JPEG", "MPO"):
                check_scans(data, opened.width * opened.height)
            check_memory(opened, limits)
            on_header(opened)
            rgb = upright_rgb_within(opened, limits)
            width, height = _upright_size(size, rgb, opened, limits)
            return Upright(rgb, width, height, "JPEG" if name == "MPO" else name)
    except ImageRejected:
        raise
    except Exception as error:  # Pillow raises far more than OSError
        raise _rejection(error, name, data, limits) from error


def rgb_of(image: Image.Image, limits: Limits | None = None) -> RGB:
    """The pixels, [H, W, 3], of an image that the caller opened or made, treated like a decoded file.

    Raises:
        ImageRejected: it cannot be loaded, is too large, or has no pixels.
    """
    import numpy as np

    limits = limits or Limits()
    try:
        if 0 in image.size:
            raise ImageRejected("empty", f"The picture is {image.width} × {image.height}: it has no pixels.")
        _check_pixels(image.size, limits)
        return np.array(to_upright_rgb(image))
    except ImageRejected:
        raise
    except Exception as error:
        raise _rejection(error, image.format or "in-memory", b"", limits) from error


def check_bytes(data: bytes, limits: Limits) -> None:
    """Refuse what needs no decoding to be refused."""
    if not data:
        raise ImageRejected("empty", "The file has no bytes.")
    if len(data) > limits.max_bytes:
        detail = (
            f"The file has {len(data):,} bytes; the limit is {limits.max_bytes:,} "
            "(SIGHTLINE_IMAGING__MAX_BYTES)."
        )
        raise ImageRejected("too_many_bytes", detail)


def make_thumbnail(picture: Image.Image, side: int) -> bytes:
    """A WebP file of an RGB picture whose longest side is at most ``side`` pixels."""
    scale = min(1.0, side / max(picture.size))
    if scale < 1:
        width, height = (max(1, round(length * scale)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = BytesIO()
    picture.save(file, "WEBP", quality=_THUMBNAIL_QUALITY, method=_THUMBNAIL_EFFORT)
    return file.getvalue()


def _upright_size(
    size: tuple[int, int], rgb: Image.Image, opened: ImageFile, limits: Limits
) -> tuple[int, int]:
    """Width and height of the whole picture, upright; ``size`` is what its header said."""
    if size[0] * size[1] <= limits.whole_pixels and opened.format != "RAW":
        return rgb.size
    return (size[1], size[0]) if lies_on_its_side(opened) else size


def _own_size(opened: ImageFile) -> tuple[int, int]:
    """Of the whole picture, as stored: of a camera raw less may be decoded than the sensor saw."""
    full: tuple[int, int] = getattr(opened, "full_size", opened.size)
    return full


def _check_pixels(size: tuple[int, int], limits: Limits) -> None:
    """From the header alone: no pixel is allocated yet."""
    width, height = size
    if width * height > limits.max_pixels:
        detail = (
            f"The picture is {width} × {height}, {width * height / 1e6:.1f} megapixels; "
            f"the limit is {limits.max_pixels / 1e6:g} megapixels (SIGHTLINE_IMAGING__MAX_PIXELS)."
        )
        raise ImageRejected("too_many_pixels", detail)


def _rejection(error: Exception, name: str, data: bytes, limits: Limits) -> ImageRejected:
    """The reason code for what Pillow raised; ``name`` is the format, empty when the header did not open."""
    said = " ".join(str(error).split())[:200].rstrip(" .") or type(error).__name__
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        detail = (
            f"A picture inside of the file is larger than the limit of {limits.max_pixels / 1e6:g} "
            "megapixels (SIGHTLINE_IMAGING__MAX_PIXELS)."
        )
        return ImageRejected("too_many_pixels", detail)
    if isinstance(error, MemoryError):
        return ImageRejected("too_complex", TOO_MUCH_MEMORY)
    if (mistake := own_mistake(error)) is not None:
        log.error("A picture was not decoded by a mistake of our own.", exc_info=error)
        return ImageRejected("internal", mistake)
    if isinstance(error, UnidentifiedImageError) or not name:
        return _unopened(data, said)
    if (
        name == "TGA" and b"TRUEVISION" not in data[-64:]
    ):  # a format without a signature: more likely none at all
        return ImageRejected("not_an_image", "The file is no picture in a known format.")
    if isinstance(error, EOFError) or _TOO_FEW.search(said) or is_shorter_than_declared(data):
        return ImageRejected("truncated", f"The {name} file ends too early: {said}.")
    if isinstance(error, NotImplementedError) or "support" in said.lower():
        return ImageRejected("unsupported", f"This kind of {name} picture is not supported: {said}.")
    return ImageRejected("unreadable", f"The {name} file is broken: {said}.")


def _unopened(data: bytes, said: str) -> ImageRejected:
    """Why the header did not open, by the first bytes."""
    head = data[:HEAD]
    if other := other_kind(head):
        return ImageRejected(*other)
    if unsupported := unsupported_format(head):
        return ImageRejected("unsupported", f"{unsupported} pictures are not supported.")
    broken = broken_format(head)
    if broken is None:
        return ImageRejected("not_an_image", "The file is no picture in a known format.")
    if is_shorter_than_declared(data):
        return ImageRejected("truncated", f"The {broken} file ends before its first pixel.")
    return ImageRejected(
        "unreadable", f"The file begins like {broken}, but its header makes no sense: {said}."
    )
