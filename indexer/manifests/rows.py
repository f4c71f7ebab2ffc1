"""Rows of text manifests, streamed: a broken row is passed on as such."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sightline.errors import NotJsonError, SourceError
from sightline.indexer.files import open_file, readable
from sightline.indexer.roots import ANYWHERE, Roots
from sightline.store.json_text import read_json

_LONGEST_LINE: Final = 16 << 20
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_WORDS: Final = {"true": True, "True": True, "false": False, "False": False}


@dataclass(frozen=True)
class Row:
    """One row: ``line`` counts from 1 in the file, ``fault`` says why ``cells`` are not to be trusted."""

    line: int
    cells: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


def jsonl_rows(path: str, roots: Roots = ANYWHERE) -> Iterator[Row]:
    """One JSON object a line; empty lines are skipped. Raises SourceError when the file cannot be read."""
    for line, text in enumerate(_lines(path, roots), 1):
        if not text.strip():
            continue
        try:
            cells = read_json(text.decode())
        except UnicodeDecodeError:
            yield Row(line, fault="it is not UTF-8")
        except NotJsonError as error:
            yield Row(line, fault=f"it is no JSON: {str(error).removesuffix('.')}")
        else:
            yield Row(line, cells) if isinstance(cells, dict) else Row(line, fault="it is no JSON object")


def csv_rows(path: str, roots: Roots = ANYWHERE) -> Iterator[Row]:
    """Comma-separated, with a header. Numbers and truth values become such; empty cells are left out.

    Raises:
        SourceError: the file cannot be read, or its header has no ``uri`` or names a column twice.
    """
    text = _Text(path, roots)
    reader = csv.reader(iter(text), strict=True)
    header = _header(reader, path)
    while True:
        before = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(before + 1, fault=f"it is no CSV: {_said(error)}")
            continue
        if cells and len(cells) < len(header) and text.is_cut:
            yield Row(
                before + 1, fault="it has fewer cells than columns, and the file ends in it: it is cut off"
            )
        elif cells:
            yield _csv_row(before + 1, header, cells)


class _Text:
    """The lines of a file, and whether the last one so far has no end."""

    def __init__(self, path: str, roots: Roots) -> None:
        self._path = path
        self._roots = roots
        self.is_cut = False

    def __iter__(self) -> Iterator[str]:
        for line in _lines(self._path, self._roots):
            self.is_cut = not line.endswith(b"\n")
            yield line.decode("utf-8", "surrogateescape")


def _header(reader: Iterator[list[str]], path: str) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise SourceError(f"{readable(path)} is no CSV file: {_said(error)}.") from error
    if "uri" not in header:
        raise SourceError(f'{readable(path)} has no column "uri" in its first line{_instead(header)}.')
    if len(set(header)) < len(header):
        raise SourceError(f"{readable(path)} has two columns of the same name.")
    return header


def _said(error: csv.Error) -> str:
    """What is wrong; of a lone carriage return Python says how to write the program that reads it."""
    said = str(error).rstrip("?.")
    return (
        "its lines end with a carriage return alone; save it with line feeds" if "new-line" in said else said
    )


def _instead(header: Sequence[str]) -> str:
    """What the first line has in its place, if that can be told."""
    for cell in header:
        if cell.lower() == "uri":
            return f'; it has "{cell}", and names of columns are in small letters'
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if any("uri" in cell.lower().replace('"', "").split(separator) for cell in header):
            return f"; its cells are separated by {name}: save it with commas"
    return ""


def _csv_row(line: int, header: list[str], cells: list[str]) -> Row:
    named = dict(zip(header, cells, strict=False))
    values: dict[str, Any] = {name: cell for name, cell in named.items() if cell != ""}
    if len(cells) > len(header):
        return Row(line, values, f"it has {len(cells)} cells under {len(header)} columns")
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        return Row(line, fault="it is not UTF-8")
    return Row(line, {name: _typed(name, cell) for name, cell in values.items()})


def _typed(name: str, cell: str) -> str | int | float | bool:
    """Numbers are compared as such by filters; ``007`` and ``1e5`` may well be names, and stay text."""
    if name in ("uri", "id", "caption"):
        return cell
    if _INTEGER.fullmatch(cell):
        return int(cell)
    if _DECIMAL.fullmatch(cell):
        return float(cell)
    return _WORDS.get(cell, cell)


def _lines(path: str, roots: Roots) -> Iterator[bytes]:
    """Lines with their ends, without a byte order mark."""
    try:
        with open_file(path, roots) as file:
            head = file.read(3)
            if head.startswith(_UTF_16):
                raise SourceError(f"{readable(path)} is written in UTF-16; save it as UTF-8.")
            if head != b"\xef\xbb\xbf":
                file.seek(0)
            while line := file.readline(_LONGEST_LINE + 1):
                if len(line) > _LONGEST_LINE:
                    raise SourceError(f"{readable(path)} has a line of more than 16 MB; it is no manifest.")
                yield line
    except OSError as error:
        raise SourceError(f"{readable(path)} cannot be read: {error.strerror}.") from error
