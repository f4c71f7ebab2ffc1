"""Queries that a user keeps in a text file."""

from __future__ import annotations

from pathlib import Path

from sightline.errors import InputError


def queries_in(path: Path) -> list[str]:
    """The lines of a text file.

    Raises:
        InputError: the file cannot be read or holds none.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The queries in {path} cannot be read: {error}.") from error
    if not any(lines):
        raise InputError(f"The file {path} holds no queries; write one in a line.")
    return [line for line in lines if line]
