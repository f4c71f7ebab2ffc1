"""Generations: one immutable file with the tokens of all images that were live when it was built.

A safetensors file: ``keys`` int64 ``[N]``, ``faiss`` uint8 (padding, then what FAISS puts before its
codes) and ``tokens`` fp16 ``[N,Q,D]``, so that the last two together are a FAISS index that is opened in
the memory map. It is derived from segments: delete it and it is built again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sightline.errors import CorruptionError, InputError
from sightline.store.durable import verify_file, write_durably
from sightline.store.faiss_scan import CpuScan, GpuScan, copy_index, has_gpu, index_header, view_index
from sightline.store.tensorfile import ALIGNMENT, TensorFile, TensorSpec, encode_header, open_tensors, raw
from sightline.store.token_index import TokenIndex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sightline.store.segments import SegmentReader
    from sightline.store.token_index import Half, Keys, Mask, RowScan

KIND: Final = {"format": "sightline-generation", "version": "1"}
_COPY_ROWS: Final = 1024


class CoveredSegment(Protocol):
    """What a build needs to know of a published segment: `sightline.store.records.Segment` fits."""

    @property
    def id(self) -> int: ...
    @property
    def file(self) -> str: ...


@dataclass(frozen=True)
class BuiltGeneration:
    """A finished generation file: ``covered`` are the ids of its segments, ``images`` how many it holds."""

    file: str
    sha256: str
    bytes: int
    covered: tuple[int, ...]
    images: int


def build_generation(
    folder: Path | str, reader: SegmentReader, segments: Sequence[CoveredSegment], dead: Keys
) -> BuiltGeneration:
    """Write the tokens of ``segments`` without the ``dead`` keys as one new file; open it once to be sure.

    Streams, so it needs little memory. Raises `InputError` without segments or when they are of different
    models, `CorruptionError` when the tokens of a segment are not what was written.
    """
    if not segments:
        raise InputError("There are no segments to build a generation from.")
    for segment in segments:
        reader.verify_tokens(segment.file)
    sources = [reader.tokens(segment.file) for segment in segments]
    if len({tokens.shape[1:] for _, tokens in sources}) > 1:
        raise InputError("Segments of different models cannot share a generation.")
    kept = _kept([keys for keys, _ in sources], dead)
    keys = np.concatenate([keys[mask] for (keys, _), mask in zip(sources, kept, strict=True)])
    name = f"{uuid.uuid4().hex}.generation.safetensors"
    chunks = _stream(keys, [tokens for _, tokens in sources], kept)
    written = write_durably(Path(folder), name, chunks)
    open_generation(folder, written.file, written.sha256)
    return BuiltGeneration(*written, tuple(segment.id for segment in segments), len(keys))


def verify_generation(folder: Path | str, file: str, sha256: str) -> None:
    """`FileMissingError` or `CorruptionError` unless the file is there and is what was written."""
    verify_file(Path(folder) / file, sha256)


def open_generation(folder: Path | str, file: str, sha256: str, *, gpu: bool = False) -> TokenIndex:
    """Verify the checksum, then open in place. `CorruptionError`: build it again from the segments."""
    verify_generation(folder, file, sha256)
    content = open_tensors(Path(folder) / file)
    shapes = {name: array.ndim for name, array in content.arrays.items()}
    found = {key: content.metadata.get(key) for key in KIND}
    if found != KIND or shapes != {"keys": 1, "faiss": 1, "tokens": 3}:
        raise CorruptionError(f"The file {file} is no generation that this version can read.")
    keys, tokens = content.arrays["keys"], content.arrays["tokens"]
    return TokenIndex(keys, tokens, _scans(content, tokens, gpu))


def segment_index(keys: Keys, tokens: Half) -> TokenIndex:
    """An index over one segment, which holds a copy of its tokens."""
    return TokenIndex(keys, tokens, (CpuScan(copy_index(tokens)),))


def _scans(content: TensorFile, tokens: Half, gpu: bool) -> tuple[RowScan, ...]:
    length = int(content.metadata.get("faiss_bytes", "0"))
    buffer = content.tail_of("faiss", length, "tokens")
    # Another version of FAISS may write another header: then a copy does.
    index = view_index(buffer, tokens.shape[0] * tokens.shape[1])
    if index is None:
        index = copy_index(tokens)
    cpu = CpuScan(index, buffer)
    return (GpuScan(index), cpu) if gpu and len(tokens) and has_gpu() else (cpu,)


def _kept(keys: Sequence[Keys], dead: Keys) -> list[Mask]:
    """Which rows of each segment go in: not dead, and each key once (the first)."""
    everything = np.concatenate(list(keys))
    first = np.zeros(len(everything), np.bool_)
    first[np.unique(everything, return_index=True)[1]] = True
    mask = first & ~np.isin(everything, dead)
    return np.split(mask, np.cumsum([len(part) for part in keys])[:-1])


def _stream(keys: Keys, sources: Sequence[Half], kept: Sequence[Mask]) -> Iterator[bytes | memoryview]:
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
