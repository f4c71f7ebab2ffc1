"""The forms of one picture that are taken."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Union

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from sightline.types import RGB

ImageInput = Union[
    str, "PathLike[str]", bytes, bytearray, memoryview, BinaryIO, "Image", "RGB", "Tensor", Mapping[str, Any]
]
"""One picture.

A path; the bytes of an image file; a file, which is read from its beginning; a PIL image; pixels uint8
``[H,W,3]`` (or ``[H,W]``, ``[H,W,1]``, ``[H,W,4]``); a tensor ``[3,H,W]`` (or ``[1,H,W]``, ``[4,H,W]``) of
uint8, or of floats in [0, 1]; or a row with one of these under ``image``, ``bytes`` or ``path``.
"""

Errors = Literal["raise", "skip"]
"""What a picture that cannot be read does to a call: it ends it, or it is left out."""
