"""DataFrames in and out: rows that name pictures become a manifest or uploads, and records become a frame.

A frame is whatever pandas, polars, pyarrow and the like call one. pandas is imported where a frame is made,
pyarrow where one that is not pandas' is read.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sightline.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from sightline.indexer.uploads import Upload

PICTURES: Final = ("path", "uri", "image")
"""Columns that may name a picture, or hold its bytes; a frame has one of them."""
OWN: Final = frozenset({*PICTURES, "id", "caption", "captions"})
"""Columns that are no metadata."""
METADATA: Final = "metadata."
"""What stands before the name of a metadata field that is called like another column."""
_ABSENT: Final = frozenset({"NAType", "NaTType"})
"""pandas' values for nothing, by the names of their classes."""
_MAKERS: Final = re.compile(r"pandas\b")


@dataclass(frozen=True)
class GivenRows:
    """What a frame says: ``lines`` of a manifest, and pictures whose bytes it holds."""

    lines: list[dict[str, Any]]
    uploads: list[Upload]


def is_frame(source: object) -> bool:
    """Whether it is a table of columns, of whatever library."""
    is_column = not hasattr(source, "columns") and (
        hasattr(source, "to_list") or hasattr(source, "to_pylist")
    )
    return not is_column and (hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__"))


def read_frame(frame: Any) -> GivenRows:
    """The rows of a frame. A relative path is meant from the working folder, ``~`` is the user's own.

    Raises:
        InputError: no column names pictures, or several do; a value that cannot be metadata; pyarrow is
            missing.
    """
    names, rows = _records(frame)
    picture = _picture_column(names)
    lines: list[dict[str, Any]] = []
    uploads: list[Upload] = []
    for number, row in enumerate(rows, 1):
        given = _absent(row.pop(picture))
        data, name = _bytes_of(given)
        told = {column: _cell(number, column, value) for column, value in row.items()}
        metadata = {_field(column): value for column, value in told.items() if column not in OWN}
        image_id, captions = _id_of(told.get("id")), _captions(told)
        if data is None:
            lines += _lines(given if name is None else name, image_id, captions, metadata)
        else:
            uploads.append(_upload(data, image_id or name, captions, metadata))
    return GivenRows(lines, uploads)


@contextmanager
def written(rows: Sequence[Mapping[str, Any]], path: Path) -> Iterator[str]:
    """The manifest of these rows at ``path``, for as long as the block lasts in this process's hands.

    It stays there: it is the source that its pictures came from, by the same name each time. Another process
    that writes to it waits until the block has ended.
    """
    from sightline.store.ownership import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        text = "".join(f"{json.dumps(row, ensure_ascii=True, allow_nan=False)}\n" for row in rows)
        write_whole(path, text.encode())
        yield str(path)


def frame_of(
    rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], columns: Sequence[str]
) -> DataFrame:
    """A frame with ``columns`` and one more for each metadata field; a row is (record, metadata).

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("DataFrames need pandas: pip install 'sightline[pandas]'.") from None
    taken = {*columns, *OWN}
    cells = [
        {**record, **{f"{METADATA}{name}" if name in taken else name: value for name, value in more.items()}}
        for record, more in rows
    ]
    frame = pandas.DataFrame(cells, dtype=object)
    more = [name for name in frame.columns if name not in columns]
    for name in more:
        present = frame[name].dropna()
        if len(present) < len(frame) and all(type(value) is int for value in present):
            frame[name] = frame[name].astype("Int64")  # with gaps pandas would make them floats
    return frame.reindex(columns=[*columns, *more]).infer_objects()


# --- reading ------------------------------------------------------------------------------------


def _records(frame: Any) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Names of the columns, and the rows."""
    if _MAKERS.match(type(frame).__module__):
        index = frame.index.name
        if index is not None and index not in frame.columns:
            frame = frame.reset_index()
        names = [str(name) for name in frame.columns]
        _check_names(names)
        columns = [frame.iloc[:, place].tolist() for place in range(len(names))]
        return names, (dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True))
    try:
        import pyarrow
    except ImportError:
        raise InputError("A table that is not pandas' needs pyarrow: pip install pyarrow.") from None
    table = pyarrow.table(frame) if hasattr(frame, "__arrow_c_stream__") else _interchanged(frame)
    _check_names(table.column_names)
    return table.column_names, (row for batch in table.to_batches(1024) for row in batch.to_pylist())


def _interchanged(frame: Any) -> Any:
    from pyarrow.interchange import from_dataframe

    return from_dataframe(frame)


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"The table has two columns {twice!r}; give each a name of its own.")


def _picture_column(names: Sequence[str]) -> str:
    found = [name for name in PICTURES if name in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"The table has the columns {' and '.join(found)}; only one may name the pictures.")
    raise InputError(
        f"The table has no column that names its pictures: call it path, uri or image (it has "
        f"{', '.join(names[:10]) or 'none'})."
    )


def _absent(value: Any) -> Any:
    """None for what the libraries put where there is nothing."""
    if value is None or type(value).__name__ in _ABSENT or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def _bytes_of(given: Any) -> tuple[bytes | None, str | None]:
    """The bytes of a picture and what it is called, as far as a cell holds them."""
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given), None
    if isinstance(given, Mapping) and "bytes" in given:  # as the package datasets writes pictures
        data, path = given["bytes"], _absent(given.get("path"))
        return None if data is None else bytes(data), path
    return None, None


def _cell(number: int, column: str, value: Any) -> Any:
    """As JSON knows it."""
    try:
        return _plain(value)
    except ValueError as error:
        raise InputError(
            f"Row {number} of the table: the column {column!r} holds {error}, which cannot be metadata; "
            "convert or drop the column."
        ) from error


def _plain(value: Any) -> Any:
    """None for NaN and its like; times as ISO 8601 text, in UTC where they have a zone, as in manifests."""
    value = _absent(value)
    if hasattr(value, "to_pydatetime"):  # a Timestamp of pandas, which is a datetime with nanoseconds
        value = value.to_pydatetime(warn=False)
    elif type(value).__module__ == "numpy":
        value = _absent(value.tolist())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    raise ValueError(f"a value of type {type(value).__name__}")


def _field(column: str) -> str:
    """The metadata field that a column means; no manifest can name one like those that it reads itself."""
    bare = column.removeprefix(METADATA)
    return bare if bare in OWN - {"uri", "id", "caption"} else column


def _id_of(given: Any) -> Any:
    """A whole number stays one where NaN beside it made all of its column floats."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _captions(told: Mapping[str, Any]) -> list[Any]:
    found = [told.get("caption"), told.get("captions")]
    return [text for one in found for text in (one if isinstance(one, list) else [one]) if text]


def _lines(given: Any, image_id: Any, captions: Sequence[Any], metadata: dict[str, Any]) -> Iterator[Any]:
    """A line of a manifest for each caption, or one; what makes no sense is said when it is read."""
    named = _address(given)
    whole = {name: value for name, value in metadata.items() if value is not None}
    line = {**whole, "uri": named.get("uri"), "id": named.get("id") if image_id is None else image_id}
    for caption in captions or [None]:
        yield {name: value for name, value in {**line, "caption": caption}.items() if value is not None}


def _address(given: Any) -> dict[str, str]:
    """Where a picture lies, seen from the working folder, and the id that it has unless it is given one."""
    from sightline.indexer.manifests.addresses import Addresses

    if not isinstance(given, (str, os.PathLike)) or not os.fspath(given):
        return {}
    raw = os.path.expanduser(os.fspath(given))
    try:
        # Whether what lies on the web is fetched is said when it is read, as of any other manifest.
        found = Addresses(os.getcwd(), _unread, allow_remote=True, fetch=_unread).resolve(raw)
    except ValueError:
        return {"uri": raw}
    return {"uri": found.uri, "id": found.image_id}


def _unread(uri: str) -> bytes:
    raise AssertionError(f"{uri} is named here, and read elsewhere")


def _upload(data: bytes, image_id: Any, captions: Sequence[Any], metadata: dict[str, Any]) -> Upload:
    from sightline.indexer.uploads import Upload

    whole = {name: value for name, value in metadata.items() if value is not None}
    told = "\n".join(str(caption) for caption in captions) or None
    return Upload(data, None if image_id is None else str(image_id), told, whole)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone with a file, waiting for others; where there are no such locks, all go on without."""
    with path.open("ab") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):  # Windows, or a file system that knows none
            pass
        yield
