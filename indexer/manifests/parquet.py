"""Rows of Parquet manifests; needs pyarrow."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO, Final

from sightline.errors import SourceError
from sightline.indexer.files import open_file, readable
from sightline.indexer.manifests.parquet_bounds import (
    BATCH_BYTES,
    check_unpacked,
    text_columns,
    unpacked_bytes,
)
from sightline.indexer.manifests.rows import Row
from sightline.indexer.roots import ANYWHERE, Roots

_BATCH: Final = 1024
_NAMED: Final = 30


def parquet_rows(
    path: str, roots: Roots = ANYWHERE, *, columns: Sequence[str] | None = None, streamed: str | None = None
) -> Iterator[Row]:
    """One row at a time, from batches of a thousand. Nulls and NaN are left out, times become ISO 8601 text:
    to the microsecond, and in UTC ("…Z") if they have a zone.

    ``columns``: these only, of a table that is no manifest; ``streamed`` is one that somebody else reads.

    Raises:
        SourceError: pyarrow is missing, the file cannot be read, or a column cannot be metadata.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SourceError(
            f"{readable(path)} needs pyarrow, which is not installed: "
            "pip install pyarrow, or write the manifest as .jsonl."
        ) from None
    line = 0
    try:
        with open_file(path, roots) as opened, _opened(opened, path, columns, streamed) as file:
            for batch in file.iter_batches(_BATCH, columns=columns, use_threads=False):
                for row in batch_rows(batch, line):
                    line += 1
                    yield row
    except (pyarrow.ArrowException, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(" .")
        raise SourceError(f"{readable(path)} cannot be read as a Parquet file: {said}.") from error


def _opened(opened: BinaryIO, path: str, columns: Sequence[str] | None, streamed: str | None) -> Any:
    """Checked; its texts stay in their dictionaries."""
    import pyarrow.parquet

    plain = pyarrow.parquet.ParquetFile(opened)
    metadata = plain.metadata
    if columns is None:
        _check(plain.schema_arrow, path)
    check_unpacked(metadata, os.fstat(opened.fileno()).st_size, path, streamed)
    return pyarrow.parquet.ParquetFile(opened, metadata=metadata, read_dictionary=text_columns(metadata))


def _check(schema: Any, path: str) -> None:
    """The columns, before the first of perhaps a million rows."""
    import pyarrow

    if "uri" not in schema.names:
        named = ", ".join(schema.names[:_NAMED]) or "none"
        raise SourceError(
            f'{readable(path)} has no column "uri", and none that holds pictures; its columns: {named}.'
        )
    if len(set(schema.names)) < len(schema.names):
        raise SourceError(f"{readable(path)} has two columns of the same name.")
    for column in schema:
        kind = column.type
        if any(is_bytes(kind) for is_bytes in (pyarrow.types.is_binary, pyarrow.types.is_large_binary)):
            raise SourceError(
                f'The column "{column.name}" of {readable(path)} holds bytes, which cannot be metadata.'
            )


def batch_rows(batch: Any, before: int) -> Iterator[Row]:
    """The rows of a batch, whose first stands after so many. One that Python cannot express is a fault."""
    if sum(unpacked_bytes(column) for column in batch.columns) > BATCH_BYTES:
        for at in range(batch.num_rows if batch.num_rows > 1 else 0):
            yield from batch_rows(batch.slice(at, 1), before + at)
        if batch.num_rows == 1:
            yield Row(before + 1, fault=f"it holds more than {BATCH_BYTES:,} bytes")
        return
    batch = batch.cast(_coarse_schema(batch.schema), safe=False)
    try:
        yield from [_row(before + at, cells) for at, cells in enumerate(batch.to_pylist(), 1)]
    except (ValueError, OverflowError):  # a year beyond 9999, text that is no UTF-8, …: which row is it
        for at in range(batch.num_rows):
            try:
                [cells] = batch.slice(at, 1).to_pylist()
            except (ValueError, OverflowError) as error:
                yield Row(before + at + 1, fault=f"it holds what cannot be read: {error}")
            else:
                yield _row(before + at + 1, cells)


def _coarse_schema(schema: Any) -> Any:
    """Without nanoseconds, which neither Python's times nor most tools have."""
    import pyarrow

    coarse = {field.name: _coarse(field.type) for field in schema}
    return pyarrow.schema(
        [
            field if coarse[field.name] == field.type else field.with_type(coarse[field.name])
            for field in schema
        ]
    )


def _coarse(kind: Any) -> Any:
    import pyarrow

    types = pyarrow.types
    if types.is_timestamp(kind) and kind.unit == "ns":
        return pyarrow.timestamp("us", kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return pyarrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return pyarrow.duration("us")
    if types.is_list(kind):
        return pyarrow.list_(_coarse(kind.value_type))
    if types.is_large_list(kind):
        return pyarrow.large_list(_coarse(kind.value_type))
    if types.is_struct(kind):
        return pyarrow.struct([inner.with_type(_coarse(inner.type)) for inner in kind])
    return kind


def _row(line: int, cells: dict[str, Any]) -> Row:
    try:
        plain = {name: _plain(cell) for name, cell in cells.items()}
    except ValueError as error:
        return Row(line, fault=str(error))
    return Row(line, {name: cell for name, cell in plain.items() if cell is not None})


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime) and value.tzinfo is not None:
        # In one zone, or filters, which compare texts, would put them in the wrong order.
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    raise ValueError(f"a value of type {type(value).__name__} cannot be metadata")
