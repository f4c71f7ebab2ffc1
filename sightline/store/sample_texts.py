"""Sample texts: vectors of what users ask, or might ask, of one collection in one model.

An approximate index learns from them which tokens of an image can ever be its best, and where to look, and
is measured with some that it did not learn from. Whoever has the model writes them, as fitted codecs are
(`sightline.indexer.embedding.text_sampling`); the builder, which has none, reads them. Of the words nothing
is kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from safetensors.numpy import load, save

from sightline.errors import CorruptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.types import Vector

CAPTIONS: Final = 0
"""Captions and other texts of the collection's own images."""
QUERIES: Final = 1
"""What was asked, where that may be kept."""
GENERAL: Final = 2
"""Sentences that come with this package: they resemble what is asked of any collection, more or less."""

_FORMAT: Final = {"format": "sightline-sample-texts-1"}
"""One entry: with more, the same set would not always give the same bytes."""
_ID_DIGITS: Final = 32
MOST_HELD_OUT: Final = 200
"""More texts than this do not make a measurement much surer, and each is searched for many times."""


@dataclass(frozen=True)
class SampleTexts:
    """Unit vectors fp32 ``[M,D]`` in random order, and where each came from (`CAPTIONS`, …) int8 ``[M]``.

    ``id`` names this very set. ``images``: how many the collection had when it was drawn, at ``drawn_at`` by
    the catalog's clock (UTC seconds since the epoch).
    """

    id: str
    vectors: Vector
    origins: NDArray[np.int8]
    images: int = 0
    drawn_at: float = 0.0

    def count(self, origin: int) -> int:
        """How many came from there."""
        return int((self.origins == origin).sum())


def held_out(origins: NDArray[np.int8]) -> NDArray[np.bool_]:
    """``[M]``: the texts of a set that an index measures with and does not learn from.

    The last ones of each origin, in proportion: at most `MOST_HELD_OUT`, and a quarter of all.
    """
    chosen = np.zeros(len(origins), np.bool_)
    share = min(MOST_HELD_OUT, len(origins) // 4) / max(1, len(origins))
    for origin in np.unique(origins):
        those = np.flatnonzero(origins == origin)
        chosen[those[len(those) - max(1, round(share * len(those))) :]] = True
    return chosen


def text_set(vectors_MD: Vector, origins_M: NDArray[np.int8], images: int, drawn_at: float) -> SampleTexts:
    """A set with the id that its content gives it."""
    id = _id(to_bytes(SampleTexts("", vectors_MD, origins_M, images, drawn_at)))
    return SampleTexts(id, vectors_MD, origins_M, images, drawn_at)


def to_bytes(texts: SampleTexts) -> bytes:
    """A set as a file: safetensors. Its id is not in it: it is the SHA-256 of these bytes, cut short."""
    told = np.array([texts.images, texts.drawn_at], np.float64)
    tensors = {"vectors": texts.vectors, "origins": texts.origins, "told": told}
    content: bytes = save({name: np.ascontiguousarray(one) for name, one in tensors.items()}, _FORMAT)
    return content


def from_bytes(content: bytes, id: str) -> SampleTexts:
    """The set of this id from its file.

    Raises:
        CorruptionError: the bytes are not those that were written, or are of another version.
    """
    if _id(content) != id:
        raise CorruptionError(f"The sample texts {id} are not what was written: their SHA-256 differs.")
    try:
        tensors = load(content)
        vectors, origins, told = (tensors[name] for name in ("vectors", "origins", "told"))
        types = [str(one.dtype) for one in (vectors, origins, told)]
        if types != ["float32", "int8", "float64"] or (len(vectors), vectors.ndim) != (len(origins), 2):
            raise ValueError("its tensors are of other shapes or types")
        return SampleTexts(id, vectors, origins, int(told[0]), float(told[1]))
    except Exception as error:
        raise CorruptionError(f"The sample texts {id} cannot be read: {error}.") from error


def _id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_ID_DIGITS]
