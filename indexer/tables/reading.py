"""Parquet files that hold pictures, and folders that ``Dataset.save_to_disk`` of Hugging Face wrote.

Nothing of a dataset is executed and nothing is fetched: its files are Arrow, and are read as such.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from sightline.errors import ImageRejected, NotJsonError, SourceError
from sightline.indexer.files import open_file, read_local, readable
from sightline.indexer.items import Listed, Origin
from sightline.indexer.manifests.parquet import parquet_rows
from sightline.indexer.manifests.parquet_bounds import check_unpacked
from sightline.indexer.manifests.rows import Row
from sightline.indexer.roots import Roots
from sightline.indexer.tables.arrow import ArrowFile
from sightline.indexer.tables.columns import Columns, columns_of, features_of
from sightline.indexer.tables.parquet_pictures import ParquetPictures
from sightline.indexer.tables.rows import Table, iter_rows
from sightline.store.json_text import read_json

SPLITS: Final = "dataset_dict.json"
STATE: Final = "state.json"
INFO: Final = "dataset_info.json"
_MOST_BYTES: Final = 16 << 20
_NAMED: Final = 30
_TOP: Final = "it is no dataset that Dataset.save_to_disk wrote"


def picture_columns(path: str, roots: Roots) -> Columns | None:
    """The columns of a Parquet file that holds pictures; None for one that does not, or cannot be read."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return None  # whoever lists it says so
    try:
        with open_file(path, roots) as opened:
            schema = pyarrow.parquet.read_schema(opened)
            return columns_of(schema, features_of(schema))
    except (OSError, ValueError, pyarrow.ArrowException):
        return None  # as above


def iter_parquet(path: str, label: str, columns: Columns, max_bytes: int, roots: Roots) -> Iterator[Listed]:
    """The pictures in a Parquet file, as ``label!/row`` or by its column ``id`` or ``key``.

    Raises:
        SourceError: it cannot be read to its end.
    """
    pictures = ParquetPictures(path, columns.picture, roots)
    table = Table(path, label, columns, Origin("Parquet", label), pictures.cell)
    yield from iter_rows(_rows(path, columns, roots), table, max_bytes, roots)


def _rows(path: str, columns: Columns, roots: Roots) -> Iterator[Row]:
    if columns.read:
        return parquet_rows(path, roots, columns=columns.read, streamed=columns.picture)
    return _empty_rows(path, columns.picture, roots)


def _empty_rows(path: str, column: str, roots: Roots) -> Iterator[Row]:
    """Of a file that has nothing but pictures."""
    import pyarrow.parquet

    with open_file(path, roots) as opened:
        metadata = pyarrow.parquet.read_metadata(opened)
        check_unpacked(metadata, os.fstat(opened.fileno()).st_size, path, column)
    yield from map(Row, range(1, metadata.num_rows + 1))


# --- datasets of Hugging Face -------------------------------------------------------------------------------


def is_dataset(path: str) -> bool:
    """Whether a folder is one that ``save_to_disk`` wrote."""
    there = [os.path.lexists(os.path.join(path, name)) for name in (SPLITS, STATE, INFO)]
    return there[0] or (there[1] and there[2])


def iter_dataset(path: str, max_bytes: int, roots: Roots) -> Iterator[Listed]:
    """The pictures of a dataset as ``name!/row``, and with splits as ``name!/split/row``.

    Raises:
        SourceError: it cannot be read, has no column of pictures, or names files outside of its folder.
    """
    name = readable(os.path.basename(path))
    if os.path.lexists(os.path.join(path, SPLITS)):
        splits = _json(path, SPLITS, roots).get("splits")
        if not isinstance(splits, list):
            raise SourceError(f"{readable(path)} cannot be read: {SPLITS} names no splits.")
        for split in splits:
            folder = os.path.join(path, _plain(split, path))
            yield from _iter_split(folder, f"{name}/{split}", str(split), max_bytes, roots)
    else:
        split = _json(path, STATE, roots).get("_split")
        yield from _iter_split(path, name, split if isinstance(split, str) else "", max_bytes, roots)


def _iter_split(folder: str, label: str, split: str, max_bytes: int, roots: Roots) -> Iterator[Listed]:
    features = _json(folder, INFO, roots).get("features")
    files = _json(folder, STATE, roots).get("_data_files")
    if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
        raise SourceError(f"{readable(folder)} cannot be read: {_TOP}.")
    before = 0
    for named in files:
        path = os.path.join(folder, _plain(named.get("filename"), folder))
        file = ArrowFile(path, roots)
        columns = columns_of(file.schema, features if isinstance(features, dict) else {})
        if columns is None:
            known = ", ".join(file.schema.names[:_NAMED]) or "none"
            raise SourceError(f"{readable(folder)} has no column that holds pictures; its columns: {known}.")
        origin = Origin("Hugging Face dataset", split)
        cell = partial(file.cell, columns.picture)
        table = Table(path, label, columns, origin, cell, before, {"split": split} if split else None)
        yield from iter_rows(file.rows(columns.read), table, max_bytes, roots)
        before += len(file)


def _json(folder: str, name: str, roots: Roots) -> Mapping[str, Any]:
    try:
        value = read_json(read_local(os.path.join(folder, name), _MOST_BYTES, roots).decode())
    except (ImageRejected, NotJsonError, UnicodeDecodeError) as error:
        said = error.detail.removesuffix(".") if isinstance(error, ImageRejected) else f"{name} is no JSON"
        raise SourceError(f"{readable(folder)} cannot be read as a dataset: {said}.") from error
    if not isinstance(value, dict):
        raise SourceError(f"{readable(folder)} cannot be read: {_TOP}.")
    return value


def _plain(name: Any, folder: str) -> str:
    """A name within the folder: a dataset may be somebody else's."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise SourceError(f"{readable(folder)} cannot be read: it names a file outside of its folder.")
    return name
