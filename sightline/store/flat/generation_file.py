"""The file of a flat generation: the tokens of all images that were live when it was built.

A safetensors file: ``keys`` int64 ``[N]``, ``faiss`` uint8 (padding, then what FAISS puts before its codes)
and ``tokens`` fp16 ``[N,Q,D]``, so that the last two together are a FAISS index that is opened in the memory
map.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sightline.errors import CorruptionError
from sightline.store.durable import verify_file
from sightline.store.flat.faiss_scan import copy_index, index_header, view_index
from sightline.store.tensorfile import ALIGNMENT, TensorSpec, encode_header, open_tensors, raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sightline.types import Half, Keys, Mask

SUFFIX: Final = ".generation.safetensors"
KIND: Final = {"format": "sightline-generation", "version": "1"}
_COPY_ROWS: Final = 1024


class GenerationContent(NamedTuple):
    """Views into one mapped file: keys ``[N]``, tokens ``[N,Q,D]`` and a FAISS index over ``buffer``."""

    keys: Keys
    tokens: Half
    index: Any
    buffer: NDArray[np.uint8]


def read_generation(path: Path, sha256: str) -> GenerationContent:
    """Verify the checksum, then open in place; raises `FileMissingError` or `CorruptionError`."""
    verify_file(path, sha256)
    content = open_tensors(path)
    shapes = {name: array.ndim for name, array in content.arrays.items()}
    found = {key: content.metadata.get(key) for key in KIND}
    if found != KIND or shapes != {"keys": 1, "faiss": 1, "tokens": 3}:
        raise CorruptionError(f"The file {path.name} is no generation that this version can read.")
    keys, tokens = content.arrays["keys"], content.arrays["tokens"]
    buffer = content.tail_of("faiss", int(content.metadata.get("faiss_bytes", "0")), "tokens")
    index = view_index(buffer, tokens.shape[0] * tokens.shape[1])
    if index is None:  # another version of FAISS may write another header: then a copy does
        index = copy_index(tokens)
    return GenerationContent(keys, tokens, index, buffer)


def living_rows(keys: Sequence[Keys], dead: Keys) -> list[Mask]:
    """Which rows of each segment go in: not dead, and each key once (the first)."""
    everything = np.concatenate(list(keys))
    first = np.zeros(len(everything), np.bool_)
    first[np.unique(everything, return_index=True)[1]] = True
    mask = first & ~np.isin(everything, dead)
    return np.split(mask, np.cumsum([len(part) for part in keys])[:-1])


def generation_bytes(
    keys: Keys, sources: Sequence[Half], kept: Sequence[Mask]
) -> Iterator[bytes | memoryview]:
    """The file of ``keys``, whose tokens are the kept rows of the sources, in chunks."""
    queries, dim = sources[0].shape[1:]
    header = index_header(len(keys) * queries, dim)
    # Padded in front, so that the tokens behind it are aligned.
    padded = bytes(-(len(header) + keys.nbytes) % ALIGNMENT) + header
    specs = [
        TensorSpec("keys", np.int64, (len(keys),)),
        TensorSpec("faiss", np.uint8, (len(padded),)),
        TensorSpec("tokens", np.float16, (len(keys), queries, dim)),
    ]
    yield encode_header({**KIND, "faiss_bytes": str(len(header))}, specs)
    yield raw(keys)
    yield padded
    for tokens, mask in zip(sources, kept, strict=True):
        rows = np.flatnonzero(mask)
        for start in range(0, len(rows), _COPY_ROWS):
            yield raw(tokens[rows[start : start + _COPY_ROWS]])
