"""What running workers say of themselves, one small file each: that they live, where, and what they counted.

A worker holds a lock of the kernel on its file, which ends with its process, however that ends. So those on
one machine can count one another, and share its cores, without a word from a server.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from sightline.store.machine_files import MachineFiles

log = logging.getLogger(__name__)

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""The same in all containers of one machine."""
_FORGOTTEN_SECONDS: Final = 86_400.0


class WorkerNote:
    """Of one worker; a context manager. Where files cannot be locked, it knows of itself alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self.name = f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> WorkerNote:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _remove_forgotten(self._folder)
            # Locked under another name first: whoever counts never meets it unlocked.
            aside = self._folder / f".aside-{self.name}"
            self._descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            _is_locked_here(self._descriptor)
            aside.rename(self._path)
        except OSError as error:
            log.warning("this worker cannot be noted", extra={"error": str(error)})
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, counted: Mapping[str, float]) -> None:
        """What it counted so far, in place of what it said before. A full disk costs no work."""
        content = json.dumps(dict(counted)).encode()
        with suppress(OSError):
            if self._descriptor is not None:
                os.pwrite(self._descriptor, content, 0)
                os.ftruncate(self._descriptor, len(content))

    def workers_here(self) -> int:
        """Workers alive on this machine, this one included; files of dead ones are removed."""
        with suppress(OSError):
            others = [one for one in self._folder.glob(f"{_machine()}-*.json") if one != self._path]
            return 1 + sum(map(_is_alive, others))
        return 1

    @property
    def _path(self) -> Path:
        return self._folder / f"{self.name}.json"


def worker_counts(folder: Path) -> dict[str, dict[str, float]]:
    """What each worker wrote last, by its name; half-written ones are left out."""
    files, found = MachineFiles(folder), dict[str, dict[str, float]]()
    for path in sorted(folder.glob("[!.]*.json")):
        said = files.read(path.stem)
        if said is not None:
            found[path.stem] = {name: one for name, one in said.items() if isinstance(one, int | float)}
    return found


def _remove_forgotten(folder: Path) -> None:
    """Files that nobody wrote to for a day and nobody locks: of machines that have started again, mostly."""
    for path in [*folder.glob("*.json"), *folder.glob(".aside-*")]:
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS:
                _is_alive(path)


def _is_alive(path: Path) -> bool:
    """Whether a process holds the lock on that file; one that nobody holds is removed."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if not _is_locked_here(descriptor):
            return True
        with suppress(OSError):
            path.unlink()
        return False
    finally:
        os.close(descriptor)


def _is_locked_here(descriptor: int) -> bool:
    """Take the lock; False when another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@cache
def _machine() -> str:
    """A name for this machine until it starts again."""
    try:
        return _BOOT_ID.read_text().strip().replace("-", "")[:12]
    except OSError:
        return uuid.uuid5(uuid.NAMESPACE_DNS, socket.gethostname()).hex[:12]
