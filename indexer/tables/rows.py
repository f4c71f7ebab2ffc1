"""From the rows of a table to pictures with captions and metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sightline.errors import ImageRejected
from sightline.imaging.files import too_many_bytes
from sightline.indexer.files import absolute, local_path, local_uri, read_local, readable, scheme_of
from sightline.indexer.items import Listed, Origin, SourceItem, SourceProblem
from sightline.indexer.manifests.rows import Row
from sightline.indexer.roots import ARCHIVE_MARK, Roots
from sightline.indexer.sidecars.facts import caption_of
from sightline.indexer.tables.columns import Columns


@dataclass(frozen=True)
class Table:
    """One file of a table. ``label`` stands before the numbers of its rows in image ids, ``before`` is how
    many rows other files have. ``cell`` gives what stands where the picture should, by row from 0.
    """

    path: str
    label: str
    columns: Columns
    origin: Origin
    cell: Callable[[int], Any]
    before: int = 0
    more: Mapping[str, Any] | None = None
    """Metadata of all rows."""


def iter_rows(rows: Iterable[Row], table: Table, max_bytes: int, roots: Roots) -> Iterator[Listed]:
    """The picture of each row; a problem for one that cannot be expressed."""
    uri = local_uri(table.path)
    for row in rows:
        number = table.before + row.line
        image_id, address = f"{table.label}{ARCHIVE_MARK}{number}", f"{uri}{ARCHIVE_MARK}{row.line}"
        if row.fault:
            detail = f"Row {row.line} of {readable(table.path)} cannot be used: {row.fault}."
            yield SourceProblem(image_id, address, "bad_row", detail)
            continue
        caption, metadata = _told(row.cells, table)
        identity = row.cells.get(table.columns.identity or "")
        named = image_id if identity in (None, "") else str(identity)
        read = partial(_read, table, row.line - 1, max_bytes, roots)
        yield SourceItem(named, address, caption, metadata, read, origin=table.origin)


def _told(cells: Mapping[str, Any], table: Table) -> tuple[str | None, dict[str, Any]]:
    columns = table.columns
    caption = caption_of(cells.get(columns.captions or ""))
    metadata = {**(table.more or {})}
    for name in columns.metadata:
        if cells.get(name) is not None:
            metadata[name] = _named(cells[name], columns.classes.get(name, ()))
    if columns.captions is not None and caption is None and cells.get(columns.captions):
        metadata[columns.captions] = cells[columns.captions]  # objects without words
    return caption, metadata


def _named(cell: Any, labels: Any) -> Any:
    """The name of a numbered label."""
    if labels and isinstance(cell, int) and not isinstance(cell, bool) and 0 <= cell < len(labels):
        return labels[cell]
    return cell


def _read(table: Table, row: int, max_bytes: int, roots: Roots) -> bytes:
    """The bytes of a picture: of the cell, or of the local file that it names. Raises ImageRejected."""
    place = f"Row {row + 1} of {readable(table.path)}"
    cell = table.cell(row)
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if data is None and isinstance(cell, dict) and isinstance(cell.get("path"), str) and cell["path"]:
        named = cell["path"]
        if scheme_of(named) not in (None, "file") or ARCHIVE_MARK in named:
            raise ImageRejected("unreadable", f"{place} names {named}, which is no file, and holds no bytes.")
        return read_local(absolute(local_path(named), os.path.dirname(table.path)), max_bytes, roots)
    if data is None:
        raise ImageRejected("empty", f"{place} holds no picture.")
    if len(data) > max_bytes:
        raise too_many_bytes(place, len(data), max_bytes)
    return bytes(data)
