"""What a Parquet file may unpack to: a few kilobytes can stand for terabytes.

A column chunk is unpacked page by page, so what it declares is bounded; a text that stands in a dictionary is
kept there once, however many rows name it, until they are read a few at a time. Two things only the format
bounds: a page is no larger than 2 GiB, whatever its chunk declares, and texts inside of lists are unpacked
for a batch of rows, since pyarrow keeps no dictionary there.
"""

from __future__ import annotations

from typing import Any, Final

from sightline.errors import SourceError
from sightline.indexer.files import readable

MOST_UNPACKED: Final = 1 << 30
"""Bytes of a row group, and so of each of its columns."""
FREE_UNPACKED: Final = 64 << 20
MOST_GROWTH: Final = 1000
"""Beyond the free ones, a row group has at most so many times the bytes of the file."""
BATCH_BYTES: Final = 64 << 20
"""Rows are taken one by one where those of a batch are larger, and a row that is larger is none."""


def check_unpacked(metadata: Any, packed: int, path: str, streamed: str | None = None) -> None:
    """Before a page is read. Raises SourceError for a row group that declares absurd sizes.

    ``streamed``: the column of pictures, which is read a few rows at a time and may be as long as the file.
    """
    bound = max(FREE_UNPACKED, MOST_GROWTH * packed)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(at) for at in range(group.num_columns)]
        pictures = sum(one.total_uncompressed_size for one in columns if _is_of(one, streamed))
        others = [one.total_uncompressed_size for one in columns if not _is_of(one, streamed)]
        size = max(group.total_byte_size - pictures, *others, 0)
        most = min(MOST_UNPACKED, bound)
        if pictures > bound:
            size, most = pictures, bound
        if size > most:
            raise SourceError(
                f"Row group {number + 1} of {readable(path)} unpacks to {size:,} bytes, and {most:,} are the "
                "most for a file of its size; write it with smaller row groups."
            )


def _is_of(chunk: Any, column: str | None) -> bool:
    return column is not None and chunk.path_in_schema.split(".")[0] == column


def text_columns(metadata: Any) -> list[str]:
    """Names of the columns of text; not of those inside of lists and structs."""
    columns = (metadata.schema.column(at) for at in range(metadata.num_columns))
    return [
        column.path
        for column in columns
        if str(column.logical_type) == "String"
        and column.max_repetition_level == 0
        and "." not in column.path
    ]


def unpacked_bytes(array: Any) -> int:
    """How many bytes the values of an array have when each stands for itself."""
    import pyarrow
    import pyarrow.compute

    types, kind = pyarrow.types, array.type
    if types.is_dictionary(kind):
        lengths = pyarrow.compute.binary_length(array.dictionary).cast(pyarrow.int64())
        return int(pyarrow.compute.sum(lengths.take(array.indices)).as_py() or 0)
    if types.is_list(kind) or types.is_large_list(kind):
        return unpacked_bytes(array.flatten())
    if types.is_struct(kind):
        return sum(unpacked_bytes(inner) for inner in array.flatten())
    return int(array.nbytes)
