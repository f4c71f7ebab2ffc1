"""SHA-256 of large files, remembered from one start to the next.

A checkpoint's fingerprint covers all its bytes, also the gigabytes of the image encoder that a server never
loads: reading them at every start would take longer than everything else together. A digest is believed as
long as the file is the same inode with the same size, time of change (mtime) and time of status change
(ctime), which no program can set. A file that was changed within the last seconds is not remembered: clocks
of file systems are coarse, and it could change again without a trace.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any, TypeVar

from sightline.blip.fingerprints import file_digest, tensor_digests

D = TypeVar("D", str, dict[str, str])

SETTLED_SECONDS = 5.0
SMALL_BYTES = 1 << 20
"""Smaller files are read every time."""
MOST = 256
"""Files that are remembered; the latest ones."""


class RememberedDigests:
    """Digests in one JSON file, which may be lost or deleted at any time."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now

    def of(self, file: Path) -> str:
        """SHA-256 of the file's bytes."""
        return self._of(file, str(file.resolve()), file_digest)

    def of_tensors(self, file: Path) -> dict[str, str]:
        """SHA-256 of each tensor in a safetensors file (`sightline.blip.fingerprints.tensor_digests`)."""
        return self._of(file, f"{file.resolve()} (tensors)", tensor_digests)

    def _of(self, file: Path, name: str, compute: Callable[[Path], D]) -> D:
        before = _stamp(file)
        if before["size"] < SMALL_BYTES:
            return compute(file)
        known = self._read()
        remembered = known.get(name)
        if isinstance(remembered, dict) and {**remembered, "sha256": None} == {**before, "sha256": None}:
            digest: D = remembered["sha256"]
            return digest
        digest = compute(file)
        settled = self._now() - max(before["mtime_ns"], before["ctime_ns"]) / 1e9 > SETTLED_SECONDS
        if settled and _stamp(file) == before:
            known = self._read()
            known.pop(name, None)
            self._write({**known, name: {**before, "sha256": digest}})
        return digest

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, known: dict[str, Any]) -> None:
        """Aside and renamed, so that another process never reads half of it. A full disk costs no start."""
        aside = self._path.with_name(f"{self._path.name}.{os.getpid()}.{get_ident()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(json.dumps(dict(list(known.items())[-MOST:]), indent=1))
            aside.replace(self._path)
        except OSError:
            with suppress(OSError):
                aside.unlink(missing_ok=True)


def _stamp(file: Path) -> dict[str, int]:
    found = file.stat()
    return {
        "device": found.st_dev,
        "inode": found.st_ino,
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
    }
