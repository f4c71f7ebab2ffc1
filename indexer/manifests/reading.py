"""Manifests: a table of pictures as ``.jsonl``, ``.csv`` or ``.parquet``.

Column ``uri`` is required: a path relative to the manifest, an absolute one, or ``archive.zip!/member``.
``id`` and ``caption`` are optional; every other column becomes metadata, except where it is empty. A row that
makes no sense is a problem with its line number, and the next row counts again. Several rows may give
captions of one picture: a manifest is read twice for that, so that it need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sightline.indexer.files import is_text, local_uri, readable
from sightline.indexer.items import Listed, SourceItem, SourceProblem
from sightline.indexer.manifests.addresses import Addresses
from sightline.indexer.manifests.repeats import Line, merged, repeated
from sightline.indexer.manifests.rows import Row, csv_rows, jsonl_rows
from sightline.indexer.roots import Roots

_OWN = ("uri", "id", "caption")
_READERS = {".jsonl": jsonl_rows, ".ndjson": jsonl_rows, ".csv": csv_rows}
_PARQUET = (".parquet", ".pq")


def is_manifest(path: str) -> bool:
    """Whether a file's name says that it is a manifest."""
    ending = Path(path).suffix.lower()
    return ending in _READERS or ending in _PARQUET


def is_parquet(path: str) -> bool:
    """Whether a file's name says that it is a Parquet file, which may hold the pictures themselves."""
    return Path(path).suffix.lower() in _PARQUET


def iter_manifest(path: str, addresses: Addresses) -> Iterator[Listed]:
    """The pictures that a manifest names. Files are not looked at: one that is missing fails when it is read.

    Raises:
        SourceError: the manifest cannot be read, or has no column ``uri``.
    """
    ids = (line.listed.image_id for line in _lines(path, addresses) if isinstance(line.listed, SourceItem))
    yield from merged(_lines(path, addresses), repeated(ids))


def _lines(path: str, addresses: Addresses) -> Iterator[Line]:
    named = readable(Path(path).name)
    for row in _rows(path, addresses.roots):
        try:
            listed: Listed = _item(row, addresses)
        except ValueError as error:
            listed = _problem(row, path, error)
        yield Line(f"{named}:{row.line}", listed)


def _rows(path: str, roots: Roots) -> Iterator[Row]:
    ending = Path(path).suffix.lower()
    if ending in _PARQUET:
        from sightline.indexer.manifests.parquet import parquet_rows

        return parquet_rows(path, roots)
    return _READERS[ending](path, roots)


def _item(row: Row, addresses: Addresses) -> SourceItem:
    """Raises ValueError with a sentence when the row makes no sense."""
    if row.fault:
        raise ValueError(row.fault)
    uri = row.cells.get("uri")
    if not isinstance(uri, str) or not uri:
        raise ValueError('it has no "uri"')
    caption = row.cells.get("caption")
    if caption is not None and not isinstance(caption, str):
        raise ValueError('its "caption" is no text')
    address = addresses.resolve(uri)
    image_id = _given_id(row.cells) or address.image_id
    metadata = {name: cell for name, cell in row.cells.items() if name not in _OWN and cell is not None}
    return SourceItem(image_id, address.uri, caption or None, metadata, partial(addresses.read, address.uri))


def _given_id(cells: Mapping[str, Any]) -> str | None:
    given = cells.get("id")
    if given is None or given == "":
        return None
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise ValueError('its "id" is neither text nor a whole number')
    return str(given)


def _problem(row: Row, path: str, error: ValueError) -> SourceProblem:
    """Without an id of its own the row is named by its line, and may stand for any picture."""
    named = readable(Path(path).name)
    detail = f"Line {row.line} of {named} cannot be used: {error}."
    try:
        given = _given_id(row.cells)
    except ValueError:
        given = None
    if given is None or not is_text(given):
        return SourceProblem(f"{named}:{row.line}", local_uri(path), "bad_row", detail, hides_more=True)
    return SourceProblem(given, local_uri(path), "bad_row", detail)
