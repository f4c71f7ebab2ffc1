"""The pictures in a column of a Parquet file: read from front to back, a few rows at once.

Listing a table reads none of them. Whoever registers asks in nearly the order of the rows, from several
threads; what was passed on the way is kept for them until it is asked for, up to a limit. Anything else
begins again at the row group.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from threading import Lock
from typing import Any, BinaryIO, Final

from sightline.errors import ImageRejected
from sightline.indexer.files import open_file, readable
from sightline.indexer.roots import Roots

_BATCH: Final = 8
_BUFFER: Final = 1 << 20
_KEPT_ROWS: Final = 512
_KEPT_BYTES: Final = 256 << 20


class ParquetPictures:
    """Of one column. Thread-safe. The file is opened with the first picture, and closed with this."""

    def __init__(self, path: str, column: str, roots: Roots) -> None:
        self._path = path
        self._column = column
        self._roots = roots
        self._lock = Lock()
        self._opened: BinaryIO | None = None
        self._file: Any = None
        self._starts: list[int] = []
        self._cells: Iterator[Any] = iter(())
        self._next = -1
        """The row that ``_cells`` gives next; −1: it was never begun."""
        self._passed: OrderedDict[int, Any] = OrderedDict()
        self._passed_bytes = 0

    def __del__(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def cell(self, row: int) -> Any:
        """What stands in the column in this row (from 0): bytes, an object with ``bytes``, or None.

        Raises:
            ImageRejected: the file cannot be read there.
        """
        with self._lock:
            try:
                if row in self._passed:
                    return self._take(row)
                self._go_to(row)
                while self._next < row:
                    self._keep(self._next, next(self._cells))
                    self._next += 1
                self._next += 1
                return next(self._cells)
            except (
                Exception
            ) as error:  # ArrowException, OSError, StopIteration of a file that was written to, …
                self._next = -1
                said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(" .")
                detail = f"Row {row + 1} of {readable(self._path)} cannot be read: {said}."
                raise ImageRejected("unreadable", detail) from error

    def _go_to(self, row: int) -> None:
        """So that ``_cells`` goes on at this row, or somewhat before it."""
        if self._file is None:
            self._open()
        group = bisect_right(self._starts, row) - 1
        if self._next < 0 or row < self._next or self._starts[group] > self._next:
            self._next = self._starts[group]
            self._cells = self._from_group(group)

    def _open(self) -> None:
        import pyarrow.parquet

        self._opened = open_file(self._path, self._roots)
        self._file = pyarrow.parquet.ParquetFile(self._opened, buffer_size=_BUFFER, pre_buffer=False)
        metadata = self._file.metadata
        lengths = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        self._starts = list(accumulate(lengths[:-1], initial=0))

    def _from_group(self, first: int) -> Iterator[Any]:
        groups = list(range(first, self._file.metadata.num_row_groups))
        batches = self._file.iter_batches(
            _BATCH, row_groups=groups, columns=[self._column], use_threads=False
        )
        for batch in batches:
            column = batch.column(0)
            yield from (column[at].as_py() for at in range(len(column)))

    def _keep(self, row: int, cell: Any) -> None:
        self._passed[row] = cell
        self._passed_bytes += _size(cell)
        while len(self._passed) > _KEPT_ROWS or self._passed_bytes > _KEPT_BYTES:
            self._take(next(iter(self._passed)))

    def _take(self, row: int) -> Any:
        cell = self._passed.pop(row)
        self._passed_bytes -= _size(cell)
        return cell


def _size(cell: Any) -> int:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return len(data) if isinstance(data, bytes) else 0
