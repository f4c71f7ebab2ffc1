"""What users pass in: a text, and pictures as paths, bytes, PIL images or arrays. The rest is refused."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from operator import index
from os import PathLike
from typing import TYPE_CHECKING, Any, SupportsIndex, Union

import numpy as np

from sightline.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from sightline.imaging import Limits
    from sightline.types import RGB

ImageInput = Union[str, "PathLike[str]", bytes, "Image", "RGB"]
"""A path, the bytes of an image file, a PIL image, or RGB pixels uint8 ``[H,W,3]``."""

_URL = re.compile(r"^([a-z][a-z0-9+.-]*://|data:)", re.IGNORECASE)


def checked_images(images: Iterable[ImageInput]) -> list[ImageInput]:
    """The images as a list; `InputError` when there are none or when one image came without a list."""
    if isinstance(images, (str, bytes, PathLike)) or (isinstance(images, np.ndarray) and images.ndim < 4):
        raise InputError("Pass a list of images, also for a single one.")
    if not isinstance(images, Iterable):
        raise InputError(f"Pass a list of images, not {type(images).__name__}.")
    listed = list(images)
    if not listed:
        raise InputError("There are no images to rank.")
    return listed


def checked_count(name: str, value: SupportsIndex, least: int) -> int:
    """The number itself; `InputError` unless it is a whole number of at least ``least``."""
    try:
        count = index(value)
    except TypeError as error:
        raise InputError(f"The number {name} must be a whole number, not {value!r}.") from error
    if count < least:
        raise InputError(f"The number {name} must be at least {least}, not {count}.")
    return int(count)


def identity(image: ImageInput) -> Hashable:
    """Equal for inputs that are the same picture for sure: the same path, bytes or object."""
    if isinstance(image, (str, bytes)):
        return image
    return str(image) if isinstance(image, PathLike) else id(image)


def read_rgb(image: ImageInput, limits: Limits) -> RGB:
    """Pixels uint8 ``[H,W,3]``, decoded as everywhere else in the house.

    Of paths only regular files of at most ``limits.max_bytes`` are read. `InputError` for what is no image
    input, or a URL; `ImageRejected` for a picture that cannot be read or decoded.
    """
    if isinstance(image, np.ndarray):
        return _checked_array(image)
    if isinstance(image, (str, PathLike)):
        image = _read(image, limits)
    return _from_bytes(image, limits) if isinstance(image, bytes) else _from_pillow(image, limits)


def _read(path: str | PathLike[str], limits: Limits) -> bytes:
    from sightline.imaging.files import read_regular

    if isinstance(path, str) and _URL.match(path):
        raise InputError(f"URLs are not fetched; pass the path or the bytes of a picture, not {path[:80]}.")
    return read_regular(path, limits.max_bytes)


def _checked_array(image: np.ndarray[Any, Any]) -> RGB:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        found = f"{image.dtype} {list(image.shape)}"
        raise InputError(f"An image array must be RGB pixels, uint8 [height, width, 3], not {found}.")
    return np.ascontiguousarray(image)


def _from_bytes(data: bytes, limits: Limits) -> RGB:
    from sightline.imaging.decoding import decode_picture  # `imaging.decode` without the thumbnail

    return np.array(decode_picture(data, limits).rgb)


def _from_pillow(image: Any, limits: Limits) -> RGB:
    from PIL.Image import Image

    from sightline.imaging import rgb_of

    if not isinstance(image, Image):
        kinds = "a path, bytes, a PIL image or an array"
        raise InputError(f"An image must be {kinds}, not {type(image).__name__}.")
    return rgb_of(image, limits)
