"""What one segment holds, and whether it is what a segment may hold. The format: store/segments.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, InputError
from sightline.store.halves import finite_rows

if TYPE_CHECKING:
    from sightline.store.tensorfile import TensorLayout
    from sightline.types import Codes, Half, Keys

NO_PATCHES: Final = "none"
FP16: Final = "fp16"
INT8: Final = "int8"
FORMAT: Final = "sightline-segment"
VERSION: Final = "2"
"""What is written. Version 1 has no checksums of its own."""
_LATENT: Final = re.compile(r"latent-[0-9a-f]{12}")
_TENSORS: Final[dict[str, tuple[type[np.generic], int]]] = {
    "keys": (np.int64, 1),
    "tokens": (np.float16, 3),
    "patches": (np.float16, 3),
    "codes": (np.int8, 3),
    "scales": (np.float16, 2),
    "sums": (np.int64, 2),
    "seal": (np.int64, 1),
}
"""Element type and number of axes of every tensor that a segment can have."""
_KEPT: Final[dict[str, tuple[str, ...]]] = {NO_PATCHES: (), FP16: ("patches",)}
"""What the codecs without codes keep of patches."""


class SegmentContent(NamedTuple):
    """All of one segment, in memory. ``patches`` are None with codec ``none``, codes beside ``scales``."""

    keys: Keys
    tokens: Half
    patches: Half | Codes | None
    codec: str
    scales: Half | None = None

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
    keys, tokens, patches, codec, scales = content
    if not is_codec(codec):
        raise InputError(f"There is no patch codec named {codec}; known are none, fp16, int8 and latent-….")
    if tuple(name for name, _ in content.kept()) != kept_names(codec):
        raise InputError(f"The codec {codec} and what is given of the patches contradict each other.")
    if keys.dtype != np.int64 or keys.ndim != 1 or len(keys) == 0 or len(np.unique(keys)) != len(keys):
        raise InputError("A segment needs distinct int64 keys, at least one.")
    for name, array in (("tokens", tokens), *content.kept()):
        dtype, axes = _TENSORS[name]
        has_none = name == "tokens" and array.shape[1:] == (0, 0) and patches is not None
        empty = 0 in array.shape and not has_none
        if array.dtype != dtype or array.ndim != axes or len(array) != len(keys) or empty:
            wanted = f"{'int8' if dtype is np.int8 else 'fp16'} [{len(keys)}{', …' * (axes - 1)}]"
            raise InputError(f"The {name} must be {wanted}, not {array.dtype} {list(array.shape)}.")
        if dtype is np.float16 and not finite_rows(array).all():
            raise InputError(f"The {name} hold values that are infinite or not a number in fp16.")
    if scales is not None and patches is not None and scales.shape != patches.shape[:2]:
        raise InputError(
            f"Codes {list(patches.shape)} need a scale for each patch, not {list(scales.shape)}."
        )


def check_layout(layout: TensorLayout) -> None:
    """`CorruptionError` unless a segment of a version that can be read lies there so."""
    name, specs = layout.path.name, layout.specs
    codec, version = layout.metadata.get("codec", ""), layout.metadata.get("version")
    if layout.metadata.get("format") != FORMAT or version not in ("1", VERSION) or not is_codec(codec):
        raise CorruptionError(f"The file {name} is no segment that this version can read (codec {codec!r}).")
    sums = () if version == "1" else ("sums", "seal")
    expected = {key: _TENSORS[key] for key in ("keys", "tokens", *kept_names(codec), *sums)}
    if {key: (spec.dtype, len(spec.shape)) for key, spec in specs.items()} != expected:
        raise CorruptionError(f"The segment {name} does not hold {', '.join(expected)}.")
    shapes = {key: spec.shape for key, spec in specs.items() if key != "seal"}
    scaled = "scales" not in shapes or shapes["scales"] == shapes["codes"][:2]
    if len({shape[0] for shape in shapes.values()}) != 1 or not scaled:
        raise CorruptionError(f"The tensors of the segment {name} differ in length.")
    if sums and (shapes["sums"][1], specs["seal"].shape) != (len(row_names(codec)), (1,)):
        raise CorruptionError(f"The segment {name} has checksums of something else.")


def kept_names(codec: str) -> tuple[str, ...]:
    """The tensors that a codec keeps of patches."""
    return _KEPT.get(codec, ("codes", "scales"))


def row_names(codec: str) -> tuple[str, ...]:
    """The tensors whose rows have a checksum, in the order of ``sums``."""
    return ("tokens", *kept_names(codec))
