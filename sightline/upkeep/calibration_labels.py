"""Labels that people wrote down: which picture shows a text and which does not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sightline.errors import InputError

MOST_LABELS: Final = 1_000_000
_NAMES: Final = ("query", "image", "relevant")


@dataclass(frozen=True)
class Label:
    """``image``: an image id."""

    query: str
    image: str
    relevant: bool


def read_labels(path: Path) -> list[Label]:
    """The lines of a JSONL file (objects) or a CSV file (with a header) with query, image and relevant.

    Raises:
        InputError: the file cannot be read, or a line of it; the sentence names the line.
    """
    try:
        content = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The labels in {path} cannot be read: {error}.") from error
    rows = _json_rows(path, content) if content.lstrip().startswith("{") else _csv_rows(path, content)
    labels = [_label(path, number, row) for number, row in rows]
    if not labels:
        raise InputError(
            f"The file {path} holds no labels; write query, image and relevant (0 or 1) in lines."
        )
    if len(labels) > MOST_LABELS:
        raise InputError(f"The file {path} holds more than {MOST_LABELS:,} labels; give some of them.")
    truths = dict[tuple[str, str], bool]()
    for one in labels:
        if truths.setdefault((one.query, one.image), one.relevant) != one.relevant:
            raise InputError(f"The labels in {path} say of “{one.query}” and {one.image} both 0 and 1.")
    return list(dict.fromkeys(labels))


def _json_rows(path: Path, content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"Line {number} of {path} is not JSON: {error}.") from error
        if not isinstance(found, dict):
            raise InputError(f"Line {number} of {path} is no JSON object.")
        yield number, found


def _csv_rows(path: Path, content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(content))
    try:
        names = reader.fieldnames or ()
        if missing := [name for name in _NAMES if name not in names]:
            raise InputError(
                f"The first line of {path} names no column {missing[0]}; name {', '.join(_NAMES)}."
            )
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"Line {reader.line_num} of {path} is not CSV: {error}.") from error


def _label(path: Path, number: int, row: Mapping[str, Any]) -> Label:
    query, image, relevant = (row.get(name) for name in _NAMES)
    for name, value in (("query", query), ("image", image)):
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"Line {number} of {path} has no text for {name}.")
    if relevant not in (0, 1, "0", "1"):
        raise InputError(f"Line {number} of {path} has {relevant!r} for relevant; write 0 or 1.")
    return Label(str(query), str(image), relevant in (1, "1"))
