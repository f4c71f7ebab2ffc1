"""Logs of supervised processes as files: bounded, and read along for what whoever started them must know."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

LOG_BYTES: Final = 8 << 20
"""From this size on a log becomes ``NAME.log.1``, in place of the one before."""
TOLD: Final = frozenset({"error", "critical"})
READ_BYTES: Final = 1 << 20
"""Of what was added between two looks, at most; the rest is in the file."""


def bound(log: Path, most: int = LOG_BYTES) -> None:
    """Put a long log aside. Its writer goes on at the start of the file, which it opened to append to; lines
    that are written between the copy and the cut are lost.
    """
    with suppress(OSError):  # a disk that takes no log shall not keep anybody from working
        if log.stat().st_size > most:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


class LogWatch:
    """Errors in logs of JSON lines, from its making on."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._read = {log: _size(log) for log in logs}

    def errors(self) -> Iterator[str]:
        """``worker: what its log says`` for each error since the last call."""
        for log in self._read:
            for line in self._new_lines(log):
                said = _error_of(line)
                if said is not None:
                    yield f"{log.stem}: {said}"

    def _new_lines(self, log: Path) -> list[bytes]:
        """Whole lines; of a log that was cut, from its start."""
        size = _size(log)
        begin = self._read[log] if self._read[log] <= size else 0
        if size == begin:
            self._read[log] = begin
            return []
        with suppress(OSError), log.open("rb") as file:
            file.seek(max(begin, size - READ_BYTES))
            whole, newline, _ = file.read(size - file.tell()).rpartition(b"\n")
            if newline:
                self._read[log] = max(begin, size - READ_BYTES) + len(whole) + 1
                return whole.splitlines()
        return []


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _error_of(line: bytes) -> str | None:
    """The message of a line that tells of an error."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    is_error = isinstance(told, dict) and told.get("level") in TOLD
    return str(told.get("message", ""))[:400] if is_error else None
