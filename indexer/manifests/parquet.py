"""Rows of Parquet manifests; needs pyarrow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from sightline.errors import SourceError
from sightline.indexer.files import open_file, readable
from sightline.indexer.manifests.rows import Row
from sightline.indexer.roots import ANYWHERE, Roots

_BATCH: Final = 1024


def parquet_rows(path: str, roots: Roots = ANYWHERE) -> Iterator[Row]:
    """One row at a time, from batches of a thousand. Nulls and NaN are left out, times become ISO 8601 text.

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
        with open_file(path, roots) as opened, pyarrow.parquet.ParquetFile(opened) as file:
            _check(file.schema_arrow, path)
            for batch in file.iter_batches(_BATCH, use_threads=False):
                for cells in batch.to_pylist():
                    line += 1
                    yield _row(line, cells)
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).splitlines()[0]
        raise SourceError(f"{readable(path)} cannot be read as a Parquet file: {said}.") from error


def _check(schema: Any, path: str) -> None:
    """The columns, before the first of perhaps a million rows."""
    import pyarrow

    if "uri" not in schema.names:
        raise SourceError(f'{readable(path)} has no column "uri".')
    if len(set(schema.names)) < len(schema.names):
        raise SourceError(f"{readable(path)} has two columns of the same name.")
    for column in schema:
        kind = column.type
        if any(is_bytes(kind) for is_bytes in (pyarrow.types.is_binary, pyarrow.types.is_large_binary)):
            raise SourceError(
                f'The column "{column.name}" of {readable(path)} holds bytes, which cannot be metadata.'
            )


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
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    raise ValueError(f"a value of type {type(value).__name__} cannot be metadata")
