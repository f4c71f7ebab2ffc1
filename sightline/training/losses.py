"""The loss curve of a run: one JSON line a step, so that nothing is lost when the process is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

LossLine = dict[str, float]
"""``step``, ``total``, one entry for each objective, ``lr``, ``hardness``, ``temperature``."""


def read_losses(path: Path) -> list[LossLine]:
    """All whole lines; a line cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = []
    for raw in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(raw))
        except ValueError:
            break
    return lines


class LossLog:
    """The curve up to a step, without what a killed run wrote from there on; ``append`` adds to it.

    Every rank keeps the curve, one writes it (``open``, after all have read).
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.lines = [line for line in read_losses(path) if line["step"] < step]

    def open(self) -> None:
        """Begin to write."""
        whole = "".join(json.dumps(line) + "\n" for line in self.lines)
        self._path.write_text(whole, encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")

    def append(self, line: LossLine) -> None:
        """Add one step, and hand it to the operating system."""
        self.lines.append(line)
        if self._file:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
