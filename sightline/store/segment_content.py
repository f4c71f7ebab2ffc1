"""What one segment holds, and whether it is what a segment may hold. The format: store/segments.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, InputError
from sightline.store.halves import finite_rows

if TYPE_CHECKING:
    from sightline.store.tensorfile import TensorFile
    from sightline.types import Codes, Half, Keys

NO_PATCHES: Final = "none"
FP16: Final = "fp16"
INT8: Final = "int8"
KIND: Final = {"format": "sightline-segment", "version": "1"}
_LATENT: Final = re.compile(r"latent-[0-9a-f]{12}")
_TENSORS: Final[dict[str, tuple[type[np.generic], int]]] = {
    "keys": (np.int64, 1),
    "tokens": (np.float16, 3),
    "patches": (np.float16, 3),
    "codes": (np.int8, 3),
    "scales": (np.float16, 2),
}
"""Element type and number of axes of every tensor that a segment can have."""
_KEPT: Final[dict[str, tuple[str, ...]]] = {NO_PATCHES: (), FP16: ("patches",)}
"""What the codecs without codes keep of patches."""


class SegmentContent(NamedTuple):
    """Views into one mapped segment. ``patches`` are None with codec ``none``, codes beside ``scales``."""

    keys: Keys
    tokens: Half
    patches: Half | Codes | None
    codec: str
    tokens_sha256: str = ""
    scales: Half | None = None

    @property
    def layout(self) -> tuple[str, tuple[int, ...], tuple[int, ...] | None]:
        """Codec, (Q, D) and (P, V or C): what must agree before segments can be merged."""
        return self.codec, self.tokens.shape[1:], None if self.patches is None else self.patches.shape[1:]

    def kept(self) -> list[tuple[str, NDArray[Any]]]:
        """Names and tensors of what the codec keeps, in the order of the file."""
        if self.patches is None:
            return []
        if self.scales is None:
            return [("patches", self.patches)]
        return [("codes", self.patches), ("scales", self.scales)]


def is_codec(name: str) -> bool:
    """Whether segments can be kept in this codec."""
    return name in (NO_PATCHES, FP16, INT8) or _LATENT.fullmatch(name) is not None


def check_content(content: SegmentContent) -> None:
    """`InputError` unless this can be written as a segment."""
    keys, tokens, patches, codec, _, scales = content
    if not is_codec(codec):
        raise InputError(f"There is no patch codec named {codec}; known are none, fp16, int8 and latent-….")
    if tuple(name for name, _ in content.kept()) != _names(codec):
        raise InputError(f"The codec {codec} and what is given of the patches contradict each other.")
    if keys.dtype != np.int64 or keys.ndim != 1 or len(keys) == 0 or len(np.unique(keys)) != len(keys):
        raise InputError("A segment needs distinct int64 keys, at least one.")
    for name, array in (("tokens", tokens), *content.kept()):
        dtype, axes = _TENSORS[name]
        if array.dtype != dtype or array.ndim != axes or len(array) != len(keys) or 0 in array.shape:
            wanted = f"{'int8' if dtype is np.int8 else 'fp16'} [{len(keys)}{', …' * (axes - 1)}]"
            raise InputError(f"The {name} must be {wanted}, not {array.dtype} {list(array.shape)}.")
        if dtype is np.float16 and not finite_rows(array).all():
            raise InputError(f"The {name} hold values that are infinite or not a number in fp16.")
    if scales is not None and patches is not None and scales.shape != patches.shape[:2]:
        raise InputError(
            f"Codes {list(patches.shape)} need a scale for each patch, not {list(scales.shape)}."
        )


def parse_content(file: TensorFile) -> SegmentContent:
    """The segment in a mapped file; `CorruptionError` when it is none."""
    name, arrays = file.path.name, file.arrays
    found = {key: file.metadata.get(key) for key in KIND}
    codec = file.metadata.get("codec", "")
    if found != KIND or not is_codec(codec):
        raise CorruptionError(f"The file {name} is no segment that this version can read (codec {codec!r}).")
    expected = {key: _TENSORS[key] for key in ("keys", "tokens", *_names(codec))}
    if {key: (array.dtype.type, array.ndim) for key, array in arrays.items()} != expected:
        raise CorruptionError(f"The segment {name} does not hold {', '.join(expected)}.")
    patches, scales = arrays.get("patches", arrays.get("codes")), arrays.get("scales")
    if len({len(array) for array in arrays.values()}) != 1 or (
        scales is not None and patches is not None and scales.shape != patches.shape[:2]
    ):
        raise CorruptionError(f"The tensors of the segment {name} differ in length.")
    checksum = str(file.metadata.get("tokens_sha256", ""))
    return SegmentContent(arrays["keys"], arrays["tokens"], patches, codec, checksum, scales)


def _names(codec: str) -> tuple[str, ...]:
    return _KEPT.get(codec, ("codes", "scales"))
