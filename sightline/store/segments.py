"""Segments: immutable files with the tokens and patches of a batch of images. numpy only, no torch.

A segment is a safetensors file: ``keys`` int64 ``[N]``, ``tokens`` fp16 ``[N,Q,D]`` and what its codec keeps
of the patches. ``none``: nothing. ``fp16``: ``patches`` fp16 ``[N,P,V]``. ``int8`` and ``latent-…`` (the id
of a patch codec, whose file says what the numbers mean): ``codes`` int8 ``[N,P,C]`` and ``scales`` fp16
``[N,P]``. The metadata names the codec and the SHA-256 of keys and tokens; a reader refuses codecs that it
does not know. Patches of several segments are gathered in the order that somebody asked for.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, InputError, NotFoundError
from sightline.faultpoint import faultpoint
from sightline.store.durable import verify_file, write_durably
from sightline.store.records import NewSegment
from sightline.store.segment_content import KIND, SegmentContent, check_content, parse_content
from sightline.store.tensorfile import TensorSpec, encode_header, open_tensors, raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sightline.store.records import ImageLocation
    from sightline.types import Codes, Half, Keys

_COPY_ROWS: Final = 256
"""Rows that are copied at a time when segments are merged: 185 MB of ViT-g patches in fp16."""


class SegmentFile(Protocol):
    """What is needed to know of a segment: `sightline.store.records.Segment` and `NewSegment` both fit."""

    @property
    def file(self) -> str: ...


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
    content = SegmentContent(keys, tokens, patches, codec, scales=scales)
    check_content(content)
    return _write(Path(folder), keys, [(content, np.arange(len(keys)))])


class SegmentReader:
    """Reads segments of one folder through memory maps; the latest ``max_open`` stay open. Thread-safe.

    Arrays that were handed out stay valid after their map is dropped from the cache or the file is deleted.
    """

    def __init__(self, folder: Path | str, max_open: int = 256) -> None:
        self.folder = Path(folder)
        self._max_open = max_open
        self._open: OrderedDict[str, SegmentContent] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, segment: SegmentFile | None) -> Path | None:
        """Where the file of a segment lies; None for none."""
        return None if segment is None else self.folder / segment.file

    def read(self, file: str) -> SegmentContent:
        """Everything in one segment, as read-only views. `FileMissingError` when the builder removed it."""
        with self._lock:
            content = self._open.get(file)
            if content is not None:
                self._open.move_to_end(file)
                return content
        content = parse_content(open_tensors(self.folder / file))
        with self._lock:
            self._open[file] = content
            while len(self._open) > self._max_open:
                self._open.popitem(last=False)
        return content

    def tokens(self, file: str) -> tuple[Keys, Half]:
        """Keys ``[N]`` and tokens ``[N,Q,D]`` of one segment, as read-only views."""
        content = self.read(file)
        return content.keys, content.tokens

    def gather(self, locations: Sequence[ImageLocation]) -> list[GatheredPatches]:
        """Patches as they are kept, one group for each codec, one gather for each file.

        `NotFoundError` when a segment was written without patches, `FileMissingError` when it is gone,
        `CorruptionError` when a row holds another key than the catalog says.
        """
        if not locations:
            raise InputError("There are no images to read patches of.")
        by_codec: dict[str, list[WantedRows]] = {}
        for file, positions in _by_file(locations).items():
            content = self.read(file)
            if content.patches is None:
                raise NotFoundError(f"The segment {file} was written without patches.")
            rows = _checked_rows(file, content, [locations[position] for position in positions])
            by_codec.setdefault(content.codec, []).append(WantedRows(positions, content, rows))
        return [gathered(codec, parts) for codec, parts in by_codec.items()]

    def verify(self, file: str, sha256: str) -> None:
        """Read the whole file: `CorruptionError` when it is not what was written."""
        verify_file(self.folder / file, sha256)

    def verify_tokens(self, file: str) -> None:
        """As `verify`, of keys and tokens only: a fiftieth of a file that also holds ViT-g patches."""
        content = self.read(file)
        digest = hashlib.sha256(raw(content.keys))
        digest.update(raw(content.tokens))
        if digest.hexdigest() != content.tokens_sha256:
            raise CorruptionError(f"The tokens in {self.folder / file} are not what was written.")

    def forget(self, file: str) -> None:
        """Drop the map of a file that is about to be deleted."""
        with self._lock:
            self._open.pop(file, None)


def rewrite_segment(reader: SegmentReader, segments: Sequence[SegmentFile], alive: Keys) -> NewSegment:
    """Copy the rows of ``segments`` whose key is in ``alive`` into one new segment, in their order.

    For merging small segments and for dropping dead rows. Needs little memory: rows are copied in chunks.
    Raises `InputError` when nothing is left or when codecs or shapes differ.
    """
    contents = [reader.read(segment.file) for segment in segments]
    rows = [np.flatnonzero(np.isin(content.keys, alive)) for content in contents]
    parts = [(content, kept) for content, kept in zip(contents, rows, strict=True) if len(kept)]
    if not parts:
        raise InputError("None of the images in these segments is alive, so there is nothing to rewrite.")
    if len({part.layout for part, _ in parts}) > 1:
        raise InputError("Segments of different codecs or models cannot be merged.")
    keys = np.concatenate([content.keys[kept] for content, kept in parts])
    return _write(reader.folder, keys, parts)


def _write(folder: Path, keys: Keys, parts: Sequence[tuple[SegmentContent, NDArray[np.intp]]]) -> NewSegment:
    """Write the given rows of the given contents, which share one layout."""
    codec, token_shape, _ = parts[0][0].layout
    specs = [
        TensorSpec("keys", np.int64, (len(keys),)),
        TensorSpec("tokens", np.float16, (len(keys), *token_shape)),
    ]
    specs += [
        TensorSpec(name, array.dtype.type, (len(keys), *array.shape[1:]))
        for name, array in parts[0][0].kept()
    ]

    def stream() -> Iterator[bytes | memoryview]:
        digest = hashlib.sha256(raw(keys))
        for content, rows in parts:
            for chunk in _chunks(content.tokens, rows):
                digest.update(chunk)
        yield encode_header({**KIND, "codec": codec, "tokens_sha256": digest.hexdigest()}, specs)
        yield raw(keys)
        for content, rows in parts:
            yield from _chunks(content.tokens, rows)
        for which in range(len(parts[0][0].kept())):
            for content, rows in parts:
                yield from _chunks(content.kept()[which][1], rows)

    # A fresh name for every call: a late worker deletes its own file, which must never be the winner's.
    written = write_durably(folder, f"{uuid.uuid4().hex}.segment.safetensors", stream())
    faultpoint("segment.written")
    return NewSegment(written.file, written.sha256, codec, written.bytes, keys)


def _chunks(array: NDArray[Any], rows: NDArray[np.intp]) -> Iterator[memoryview]:
    if len(rows) == len(array):  # rows are ascending, so these are all of them
        yield raw(array)
        return
    for start in range(0, len(rows), _COPY_ROWS):
        yield raw(array[rows[start : start + _COPY_ROWS]])


def _by_file(locations: Sequence[ImageLocation]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for position, location in enumerate(locations):
        positions.setdefault(location.file, []).append(position)
    return positions


def _checked_rows(file: str, content: SegmentContent, wanted: list[Any]) -> NDArray[np.intp]:
    rows = np.array([location.row for location in wanted], np.intp)
    keys = np.array([location.key for location in wanted], np.int64)
    if rows.min() < 0 or rows.max() >= len(content.keys) or (content.keys[rows] != keys).any():
        raise CorruptionError(f"The catalog and the segment {file} disagree about what is in which row.")
    return rows


class GatheredPatches(NamedTuple):
    """Images whose patches one codec keeps. Image i is the one at ``positions[i]`` of those asked for."""

    positions: list[int]
    """Ascending."""
    codec: str
    patches: Half | Codes
    """fp16 ``[K,P,V]``, or int8 codes ``[K,P,C]``."""
    scales: Half | None
    """fp16 ``[K,P]`` of codes."""


class WantedRows(NamedTuple):
    """What is wanted of one segment, and for which places of the answer."""

    positions: list[int]
    content: SegmentContent
    rows: NDArray[np.intp]


def gathered(codec: str, parts: Sequence[WantedRows]) -> GatheredPatches:
    """The rows of all parts in the order of their positions."""
    if len({part.content.layout for part in parts}) > 1:
        raise InputError("Patches of different models cannot be read together.")
    positions = np.concatenate([np.array(part.positions, np.intp) for part in parts])
    order = np.argsort(positions)
    joined = [_joined([(part.content.kept()[which][1], part.rows) for part in parts], order)
              for which in range(len(parts[0].content.kept()))]  # fmt: skip
    return GatheredPatches(
        positions[order].tolist(), codec, joined[0], joined[1] if len(joined) > 1 else None
    )


def _joined(parts: Sequence[tuple[NDArray[Any], NDArray[np.intp]]], order: NDArray[np.intp]) -> NDArray[Any]:
    """Rows of one tensor of several files, each file gathered once; result i is the row at ``order[i]``."""
    if len(parts) == 1:
        array, rows = parts[0]
        return np.asarray(array[rows[order]])
    places = np.empty(len(order), np.intp)
    places[order] = np.arange(len(order))
    out = np.empty((len(order), *parts[0][0].shape[1:]), parts[0][0].dtype)
    done = 0
    for array, rows in parts:
        out[places[done : done + len(rows)]] = array[rows]
        done += len(rows)
    return out
