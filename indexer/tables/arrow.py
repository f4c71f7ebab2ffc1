"""Rows and pictures of the Arrow files that ``datasets`` writes, mapped: listing touches no picture."""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.files import open_file, readable
from sightline.indexer.manifests.parquet import batch_rows
from sightline.indexer.manifests.rows import Row
from sightline.indexer.roots import Roots


class ArrowFile:
    """One file of record batches, opened and looked through. Thread-safe.

    Raises:
        SourceError: it cannot be read, or its lengths contradict each other.
    """

    def __init__(self, path: str, roots: Roots) -> None:
        import pyarrow

        self._path = path
        try:
            with open_file(path, roots) as file, pyarrow.ipc.open_stream(_mapped(file.fileno())) as reader:
                self.schema: Any = reader.schema
                self._batches = list(reader)
            for batch in self._batches:
                batch.validate(full=True)  # or a wrong length would be read beyond the file
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            said = (said.splitlines() or [type(error).__name__])[0].rstrip(" .")
            raise SourceError(f"{readable(path)} cannot be read as an Arrow file: {said}.") from error
        lengths = [batch.num_rows for batch in self._batches]
        self._starts: list[int] = list(accumulate(lengths, initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    def rows(self, columns: list[str]) -> Iterator[Row]:
        """These columns of every row, counted from 1."""
        for batch, start in zip(self._batches, self._starts, strict=False):
            if columns:
                yield from batch_rows(batch.select(columns), start)
            else:
                yield from (Row(start + at) for at in range(1, batch.num_rows + 1))

    def cell(self, column: str, row: int) -> Any:
        """What stands in a column in this row (from 0). Raises ImageRejected."""
        number = bisect_right(self._starts, row) - 1
        try:
            return self._batches[number].column(column)[row - self._starts[number]].as_py()
        except Exception as error:  # ArrowException, IndexError, MemoryError
            detail = f"Row {row + 1} of {readable(self._path)} cannot be read: {error}."
            raise ImageRejected("unreadable", detail) from error


def _mapped(descriptor: int) -> Any:
    import pyarrow

    return pyarrow.py_buffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
