"""Faults below Python: writes that fail (EIO, ENOSPC) and clocks that are wrong.

A small library in C (``shim.c``) is compiled where the tests run and loaded before the C library.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

SOURCE = Path(__file__).with_name("shim.c")
LAYOUT = struct.Struct("7q1024s")
FIELDS = ("armed", "nth", "sticky", "error", "count", "failed", "clock")


@cache
def library() -> Path | None:
    """The compiled shim; None where it cannot be had."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    built = Path(mkdtemp(prefix="sightline-shim-")) / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    return built if done.returncode == 0 else None


class Shim:
    """What the shim does in the processes that were started with ``environment``, at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():  # a process that has it mapped dies when it shrinks
            path.write_bytes(bytes(LAYOUT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), LAYOUT.size)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of such a process."""
        return {"LD_PRELOAD": str(library()), "SIGHTLINE_SHIM_STATE": str(self.path)}

    def watch(self, folder: Path) -> None:
        """Count what is written below a folder, from 0 on; nothing fails."""
        self._set(armed=0, count=0, failed=0)
        self._map[8 * len(FIELDS) : LAYOUT.size] = os.fsencode(folder).ljust(1024, b"\0")

    def fail(self, error: int, nth: int = 1, *, sticky: bool = False) -> None:
        """From now on the ``nth`` write fails; with ``sticky`` all after it too."""
        self._set(nth=nth, sticky=int(sticky), error=error, count=0, failed=0)
        self._set(armed=1)

    def lift(self) -> None:
        """Nothing fails any more."""
        self._set(armed=0)

    def shift_clock(self, seconds: int) -> None:
        """The clock of these processes is ahead by so much."""
        self._set(clock=seconds)

    @property
    def count(self) -> int:
        """Writes since ``watch`` or ``fail``."""
        return self._get("count")

    @property
    def failed(self) -> int:
        """How many of them were made to fail."""
        return self._get("failed")

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            struct.pack_into("q", self._map, 8 * FIELDS.index(name), value)

    def _get(self, name: str) -> int:
        return int(struct.unpack_from("q", self._map, 8 * FIELDS.index(name))[0])
