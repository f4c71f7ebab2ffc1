"""Segments: immutable files with the tokens and patches of a batch of images. numpy only, no torch.

A segment is a safetensors file: ``keys`` int64 ``[N]``, ``tokens`` fp16 ``[N,Q,D]`` and what its codec keeps
of the patches. ``none``: nothing. ``fp16``: ``patches`` fp16 ``[N,P,V]``. ``int8`` and ``latent-…`` (the id
of a patch codec, whose file says what the numbers mean): ``codes`` int8 ``[N,P,C]`` and ``scales`` fp16
``[N,P]``. Behind them lie ``sums`` int64 ``[N,T]``, a checksum for each row of the T tensors before, and
``seal`` int64 ``[1]``, that of header, keys and sums. Features of a model that captions or answers lie in the
place of patches, beside tokens ``[N,0,0]``. A reader checks the rows that it reads, each time, and
refuses codecs that it does not know. Version 1 had no checksums: its files are read whole against their
SHA-256 before anything of them is used, and again when somebody wrote to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.faultpoint import faultpoint
from sightline.store.checksums import Seal, row_sums
from sightline.store.durable import write_durably
from sightline.store.own_files import SEGMENT, new_name
from sightline.store.records import NewSegment
from sightline.store.segment_content import (
    FORMAT,
    VERSION,
    SegmentContent,
    check_content,
    row_names,
)
from sightline.store.segment_reader import Rows, SegmentFile, portions, sliced
from sightline.store.segment_reader import SegmentReader as SegmentReader
from sightline.store.tensorfile import TensorSpec, encode_header, raw

if TYPE_CHECKING:
    from sightline.store.segment_head import SegmentHead
    from sightline.types import Codes, Half, Keys


def write_segment(
    folder: Path,
    keys: Keys,
    tokens: Half,
    patches: Half | Codes | None,
    codec: str,
    scales: Half | None = None,
) -> NewSegment:
    """Write one segment under a new name that was never used before, durably.

    ``keys`` int64 ``[N]`` (distinct), ``tokens`` fp16 ``[N,Q,D]``; ``patches`` and ``scales`` as the codec
    keeps them (see the module). Raises `InputError` for anything else, for N = 0 and for values that are not
    finite.
    """
    content = SegmentContent(keys, tokens, patches, codec, scales)
    check_content(content)
    arrays: dict[str, NDArray[Any]] = {"tokens": tokens, **dict(content.kept())}
    specs = [TensorSpec(name, array.dtype.type, array.shape) for name, array in arrays.items()]
    return _write(Path(folder), codec, keys, specs, lambda name: sliced(arrays[name]))


def rewrite_segment(reader: SegmentReader, segments: Sequence[SegmentFile], alive: Keys) -> NewSegment:
    """Copy the rows of ``segments`` whose key is in ``alive`` into one new segment, in their order.

    For merging small segments and for dropping dead rows. Needs little memory: rows are copied in chunks, and
    each is verified before it is written. Raises `InputError` when nothing is left or when codecs or shapes
    differ, `CorruptionError` (and leaves nothing) when a row is not what was written, `FileMissingError`.
    """
    parts = [_living(reader.head(segment.file), segment.file, alive) for segment in segments]
    parts = [part for part in parts if len(part.rows)]
    if not parts:
        raise InputError("None of the images in these segments is alive, so there is nothing to rewrite.")
    head = parts[0].head
    if any(part.head.shapes != head.shapes for part in parts):
        raise InputError("Segments of different codecs or models cannot be merged.")
    keys = np.concatenate([part.head.keys[part.rows] for part in parts])
    specs = [head.layout.specs[name] for name in row_names(head.codec)]

    def chunks(name: str) -> Iterator[NDArray[Any]]:
        for part in parts:
            for rows in portions(part.rows):
                yield reader.rows(part.file, name, rows)

    return _write(reader.folder, head.codec, keys, specs, chunks)


Packing = Callable[["Half"], tuple["Codes", "Half"]]
"""fp16 patches ``[n,P,V]`` as codes ``[n,P,C]`` and scales ``[n,P]``."""


def recode_segment(
    reader: SegmentReader, segment: SegmentFile, alive: Keys, codec: str, pack: Packing
) -> NewSegment:
    """As `rewrite_segment`, of one fp16 segment, with its patches packed: a few at a time."""
    part = _living(reader.head(segment.file), segment.file, alive)
    if not len(part.rows):
        raise InputError("None of the images in this segment is alive, so there is nothing to rewrite.")
    scales: list[Half] = []  # they lie behind all codes, and are small

    def packed() -> Iterator[Codes]:
        for rows in portions(part.rows):
            codes, some = pack(reader.rows(part.file, "patches", rows))
            scales.append(some)
            yield codes

    def chunks(name: str) -> Iterator[NDArray[Any]]:
        if name == "tokens":
            return (reader.rows(part.file, name, rows) for rows in portions(part.rows))
        return packed() if name == "codes" else iter(scales)

    codes, some = pack(reader.rows(part.file, "patches", part.rows[:1]))
    made = [TensorSpec("codes", np.int8, codes.shape), TensorSpec("scales", np.float16, some.shape)]
    specs = [part.head.layout.specs["tokens"], *made]
    return _write(reader.folder, codec, part.head.keys[part.rows], specs, chunks)


class _Part(NamedTuple):
    """The rows that are copied of one segment."""

    file: str
    head: SegmentHead
    rows: Rows


def _living(head: SegmentHead, file: str, alive: Keys) -> _Part:
    return _Part(file, head, np.flatnonzero(np.isin(head.keys, alive)))


def _write(
    folder: Path,
    codec: str,
    keys: Keys,
    specs: Sequence[TensorSpec],
    chunks: Callable[[str], Iterator[NDArray[Any]]],
) -> NewSegment:
    """Write the tensors of ``specs``, with a row for each key, from their chunks."""
    # A fresh name for every call: a late worker deletes its own file, which must never be the winner's.
    file = new_name(SEGMENT)
    sums = np.empty((len(keys), len(specs)), np.int64)
    header = encode_header(
        {"format": FORMAT, "version": VERSION, "codec": codec, "file": file},
        [
            TensorSpec("keys", np.int64, keys.shape),
            *(TensorSpec(spec.name, spec.dtype, (len(keys), *spec.shape[1:])) for spec in specs),
            TensorSpec("sums", np.int64, sums.shape),
            TensorSpec("seal", np.int64, (1,)),
        ],
    )

    def stream() -> Iterator[bytes | memoryview]:
        yield header
        yield raw(keys)
        for column, spec in enumerate(specs):
            row = 0
            for chunk in chunks(spec.name):
                sums[row : row + len(chunk), column] = row_sums(chunk)
                row += len(chunk)
                yield raw(chunk)
        yield raw(sums)
        yield raw(Seal([header, raw(keys), raw(sums)]).array())

    written = write_durably(folder, file, stream())
    faultpoint("segment.written")
    return NewSegment(written.file, written.sha256, codec, written.bytes, keys)
