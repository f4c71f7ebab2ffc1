"""A disk of our own that is soon full: a small tmpfs. Who may not mount one skips the test."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """Mounted at ``folder``."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 16, 1 << 12, 1):
                for _ in range(1 << 16):
                    if not file.write(bytes(size)):
                        break

    def leave(self, kib: int) -> None:
        """Of a full disk, give so much back."""
        with self._ballast.open("r+b") as file:
            file.truncate(self._ballast.stat().st_size - 1024 * kib)

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def protect(self) -> None:
        """From now on nothing can be written."""
        command = ["mount", "-o", "remount,ro", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=20)


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[SmallDisk]:
    """A tmpfs of that size at ``folder``, which is made; what lay there is hidden."""
    folder.mkdir(parents=True, exist_ok=True)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    try:
        subprocess.run(mounting, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no tmpfs may be mounted here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True, timeout=20)
