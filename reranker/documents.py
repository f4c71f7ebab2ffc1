"""Collections of pictures and of pairs, as users pass them in: checked, counted and cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from os import PathLike
from typing import Any, TypeAlias

import numpy as np

from sightline.errors import InputError
from sightline.reranker.forms import ImageInput
from sightline.reranker.judging import checked_text
from sightline.reranker.pixels import is_tensor

Pair: TypeAlias = tuple[str, ImageInput] | Sequence[Any]
"""(text, image)."""


def batched(documents: Iterable[ImageInput], size: int) -> Iterator[list[tuple[int, ImageInput]]]:
    """(position, image) in lists of ``size``, each taken when it is asked for.

    `InputError` when there are none, or when one image came without a list.
    """
    numbered = enumerate(_opened(documents))
    first = list(islice(numbered, size))
    if not first:
        raise InputError("There are no images.")
    yield first
    while batch := list(islice(numbered, size)):
        yield batch


def length_of(documents: object) -> int | None:
    """How many there are, where that is known."""
    return len(documents) if isinstance(documents, Sized) else None


def looked_up(documents: object) -> bool:
    """Whether the caller can take one by its position, which nobody can of a generator or a stream."""
    return isinstance(documents, Sized) and hasattr(documents, "__getitem__")


def checked_pairs(pairs: Iterable[Pair] | Pair) -> tuple[list[tuple[str, ImageInput]], bool]:
    """The pairs, and whether it was a single one, without a list around it."""
    if not isinstance(pairs, Iterable):
        raise InputError(f"Pass a list of pairs, not {type(pairs).__name__}.")
    single = _is_pair(pairs)
    listed: list[Any] = [pairs] if single else list(pairs)
    if not listed:
        raise InputError("There are no pairs to judge.")
    for position, pair in enumerate(listed):
        if not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != 2:
            raise InputError(f"Pair {position} must be (text, image).")
        checked_text(pair[0])
    return [(text, image) for text, image in listed], single


def _is_pair(pairs: Iterable[object]) -> bool:
    return isinstance(pairs, (tuple, list, np.ndarray)) and len(pairs) == 2 and isinstance(pairs[0], str)


def _opened(documents: Any) -> Iterator[ImageInput]:
    if _is_one(documents):
        raise InputError("Pass a list of images, also for a single one.")
    if not isinstance(documents, Iterable):
        raise InputError(f"Pass a list of images, not {type(documents).__name__}.")
    return iter(documents)


def _is_one(documents: Any) -> bool:
    """Whether it is one picture, or a row with one, although it can be iterated."""
    if isinstance(documents, np.ndarray):  # of paths it has one dimension, of pictures' pixels four
        return documents.dtype.kind not in "OU" and documents.ndim < 4
    if is_tensor(documents):
        return documents.ndim < 4
    return isinstance(documents, (str, bytes, bytearray, memoryview, PathLike, Mapping)) or hasattr(
        documents, "read"
    )
