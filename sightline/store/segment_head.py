"""What is known of a segment before its rows are read: who is in it, where rows lie, what they sum up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError
from sightline.store.checksums import Seal, Sums, checksum, damaged_rows
from sightline.store.segment_content import check_layout, row_names
from sightline.store.tensorfile import TensorLayout, raw, read_into, read_layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO
    from pathlib import Path

    from sightline.types import Keys, Mask


@dataclass(frozen=True)
class SegmentHead:
    """Checked. ``sums``: ``[N,T]``, of the tensors in the order of `row_names`; None in version 1."""

    layout: TensorLayout
    codec: str
    keys: Keys
    sums: Sums | None

    @property
    def shapes(self) -> tuple[str, dict[str, tuple[int, ...]]]:
        """Codec, and the shape of a row of each tensor: what must agree before segments can be merged."""
        return self.codec, {name: self.layout.specs[name].shape[1:] for name in row_names(self.codec)}

    def read_rows(self, handle: FileIO, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Rows of a tensor as they lie there now, unchecked."""
        spec = self.layout.specs[name]
        out = np.empty((len(rows), *spec.shape[1:]), spec.dtype)
        self.read_into(handle, name, rows, out)
        return out

    def read_into(self, handle: FileIO, name: str, rows: NDArray[np.intp], out: NDArray[Any]) -> None:
        """As `read_rows`; neighbours are read together."""
        spec = self.layout.specs[name]
        size = spec.bytes // max(1, spec.shape[0])
        begin = 0
        for end in [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)] if len(rows) else []:
            start = self.layout.starts[name] + int(rows[begin]) * size
            read_into(self.layout.path, handle, start, out[begin:end])
            begin = end

    def read_each(
        self, handle: FileIO, name: str, rows: Sequence[int], out: Sequence[NDArray[Any]]
    ) -> list[bool]:
        """Read single rows of a tensor, each into its place; which of them are not what was written."""
        spec, start = self.layout.specs[name], self.layout.starts[name]
        size = spec.bytes // spec.shape[0]
        sums = None if self.sums is None else self._sums_of(name)[rows].tolist()
        found = []
        for row, place in zip(rows, out, strict=True):
            read_into(self.layout.path, handle, start + row * size, place)
            found.append(checksum(place) if sums is not None else 0)  # while it is in the processor's cache
        return [False] * len(rows) if sums is None else [x != y for x, y in zip(found, sums, strict=True)]

    def damaged(self, name: str, rows: NDArray[np.intp], array: NDArray[Any]) -> Mask:
        """Which of these rows, read as ``array``, are not what was written."""
        if self.sums is None or not len(rows):  # of version 1 the whole file was verified
            return np.zeros(len(rows), np.bool_)
        return damaged_rows(array, self._sums_of(name)[rows])

    def _sums_of(self, name: str) -> Sums:
        """``[N]``, of one tensor."""
        assert self.sums is not None
        return self.sums[:, row_names(self.codec).index(name)]


def read_head(path: Path, handle: FileIO) -> SegmentHead:
    """The head of an open segment; `CorruptionError` when it is not what was written.

    Of version 1 nothing is checked here but that it has the form of a segment.
    """
    layout = read_layout(path, handle)
    check_layout(layout)
    keys = _whole(layout, handle, "keys")
    sums = _whole(layout, handle, "sums") if "sums" in layout.specs else None
    if sums is not None:
        seal = Seal([layout.header, raw(keys), raw(sums)]).array()
        # The name, because another segment in this one's place would be sound as well.
        if (_whole(layout, handle, "seal") != seal).any() or layout.metadata.get("file") != path.name:
            raise CorruptionError(
                f"The segment {path} is not what was written: its head has another checksum."
            )
    return SegmentHead(layout, str(layout.metadata["codec"]), keys, sums)


def _whole(layout: TensorLayout, handle: FileIO, name: str) -> NDArray[Any]:
    spec = layout.specs[name]
    array = np.empty(spec.shape, spec.dtype)
    read_into(layout.path, handle, layout.starts[name], array)
    array.flags.writeable = False
    return array
