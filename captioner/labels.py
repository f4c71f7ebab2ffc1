"""Texts that a person labelled: right or wrong about an image of a collection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from sightline.errors import InputError

MOST_LABELS: Final = 100_000
"""Labelled texts in one file, at most."""
FORM: Final = '{"image": ID, "text": TEXT, "right": true or false}'


class Label(NamedTuple):
    """Whether ``text`` is right about the image with this id; ``line`` of the file."""

    image: str
    text: str
    right: bool
    line: int


def read_labels(path: Path) -> list[Label]:
    """Rows of JSON, one a line. InputError: the file cannot be read, has no rows, or one that is none."""
    labels: list[Label] = []
    try:
        with path.open(encoding="utf-8") as file:
            for label in _rows(path, file):
                labels.append(label)
                if len(labels) > MOST_LABELS:
                    raise InputError(f"{path} has more than {MOST_LABELS:,} labels; give fewer.")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}.") from error
    if not labels:
        raise InputError(f"{path} holds no labels; it needs lines {FORM}.")
    return labels


def _rows(path: Path, lines: Iterator[str]) -> Iterator[Label]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _row(path, number, line)


def _row(path: Path, number: int, line: str) -> Label:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        _refuse(path, number)
    if not isinstance(row, dict):
        _refuse(path, number)
    image, text, right = row.get("image"), row.get("text"), row.get("right")
    if not isinstance(image, str) or not isinstance(text, str) or not isinstance(right, bool):
        _refuse(path, number)
    if not text.strip():
        raise InputError(f"Line {number} of {path} has an empty text.")
    return Label(image, text, right, number)


def _refuse(path: Path, number: int) -> NoReturn:
    raise InputError(f"Line {number} of {path} is no label; it needs {FORM}.")
