"""What users pass in: a text, and pictures in the forms that people have them in. The rest is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator, Mapping
from io import BytesIO
from operator import index
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, get_args

import numpy as np

from sightline.errors import ImageRejected, InputError
from sightline.reranker.forms import Errors, ImageInput

if TYPE_CHECKING:
    from sightline.imaging import Limits
    from sightline.types import RGB

_KINDS: Final = "a path, bytes, a file, a PIL image, an array or a tensor"
_URL = re.compile(r"^([a-z][a-z0-9+.-]*://|data:)", re.IGNORECASE)
_MOST_NESTED: Final = 3
"""A row, in it what ``datasets`` makes of a picture it has not decoded, and the bytes in that."""


def checked_count(name: str, value: SupportsIndex, least: int) -> int:
    """The number itself; `InputError` unless it is a whole number of at least ``least``."""
    try:
        count = index(value)
    except TypeError as error:
        raise InputError(f"The number {name} must be a whole number, not {value!r}.") from error
    if count < least:
        raise InputError(f"The number {name} must be at least {least}, not {count}.")
    return int(count)


def checked_flag(name: str, value: object) -> bool:
    """The flag itself; `InputError` unless it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"The flag {name} must be True or False, not {value!r}.")
    return bool(value)


def checked_errors(errors: str) -> Errors:
    """The word itself; `InputError` unless it is one of the two."""
    for name in get_args(Errors):
        if errors == name:
            return name  # type: ignore[no-any-return]
    raise InputError(f"What to do with errors is raise or skip, not {errors!r}.")


def identity(image: ImageInput) -> Hashable:
    """Equal for inputs that are the same picture for sure: the same path, bytes or object."""
    if isinstance(image, (str, bytes)):
        return image
    return str(image) if isinstance(image, PathLike) else id(image)


def read_numbered(image: ImageInput, position: int, limits: Limits | None) -> RGB:
    """As `read_rgb`; errors name the position, and the file where there is one."""
    from sightline.imaging import Limits

    try:
        return read_rgb(image, limits or Limits())
    except ImageRejected as error:
        raise ImageRejected(error.reason, _located(image, position, error.detail)) from error
    except InputError as error:
        raise InputError(_located(image, position, str(error))) from error


def read_rgb(image: ImageInput, limits: Limits) -> RGB:
    """Pixels uint8 ``[H,W,3]``, decoded as everywhere else in the house.

    Of paths only regular files of at most ``limits.max_bytes`` are read. `InputError` for what is no image
    input, or a URL; `ImageRejected` for a picture that cannot be read or decoded.
    """
    *_, found = _layers(image)
    if isinstance(found, (str, PathLike)):
        return _from_bytes(_read(found, limits), limits)
    if isinstance(found, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(found), limits)
    if hasattr(found, "read"):
        return _from_bytes(_read_file(found, limits), limits)
    return _from_pixels(found, limits)


def _layers(image: Any) -> Iterator[Any]:
    """The input, and what it holds in turn when it is a row; last comes the picture."""
    for _ in range(_MOST_NESTED):
        yield image
        if not isinstance(image, Mapping):
            return
        held = (image.get(name) for name in ("image", "bytes", "path"))
        found = next((one for one in held if one is not None), None)
        if found is None:
            raise InputError("A row must have its picture under image, bytes or path, and this one has none.")
        image = found
    yield image


def _read(path: str | PathLike[str], limits: Limits) -> bytes:
    from sightline.imaging.files import read_regular

    if isinstance(path, str) and _URL.match(path):
        raise InputError(f"URLs are not fetched; pass the path or the bytes of a picture, not {path[:80]}.")
    return read_regular(path, limits.max_bytes)


def _read_file(file: Any, limits: Limits) -> bytes:
    """All bytes of an open file, from its beginning: so that one file can be asked about twice."""
    if isinstance(file, BytesIO):
        return file.getvalue()
    try:
        if file.seekable():
            file.seek(0)
        data = file.read(limits.max_bytes + 1)
    except (OSError, ValueError) as error:
        raise ImageRejected("unreadable", f"The file cannot be read: {error}.") from error
    if not isinstance(data, bytes):
        raise InputError("A file must be opened in binary mode, not as text.")
    return data


def _from_bytes(data: bytes, limits: Limits) -> RGB:
    from sightline.imaging.decoding import decode_picture  # `imaging.decode` without the thumbnail

    return np.array(decode_picture(data, limits).rgb)


def _from_pixels(image: Any, limits: Limits) -> RGB:
    from PIL.Image import Image

    from sightline.imaging import rgb_of
    from sightline.reranker.pixels import is_tensor, rgb_of_array, rgb_of_tensor

    if isinstance(image, np.ndarray):
        return rgb_of_array(image, limits)
    if isinstance(image, Image):
        return rgb_of(image, limits)
    if not is_tensor(image):
        raise InputError(f"An image must be {_KINDS}, not {type(image).__name__}.")
    return rgb_of_tensor(image, limits)


def _located(image: ImageInput, position: int, said: str) -> str:
    """A sentence that says which image it is about, by its place and its name."""
    name = _name_of(image)
    known = name is None or said.startswith(name)  # what reads files names them itself
    return f"Image {position}: {said}" if known else f"Image {position} ({name!r}): {said}"


def _name_of(image: ImageInput) -> str | None:
    """The name of the file that an input is or came from, as far as it knows."""
    from sightline.imaging.files import readable

    try:
        layers = list(_layers(image))
    except InputError:
        return None
    for one in layers:
        if isinstance(one, Mapping):
            one = one.get("path")
        elif not isinstance(one, (str, PathLike)):  # PIL images know it as one, files as the other
            one = getattr(one, "filename", None) or getattr(one, "name", None)
        if isinstance(one, (str, PathLike)) and one and not _URL.match(str(one)):
            return readable(os.fsdecode(one))
    return None
