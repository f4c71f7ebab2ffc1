"""Places where a process can be made to die, so that tests can show what a crash there leaves.

``SIGHTLINE_FAULTPOINT=segment.written`` kills the process with SIGKILL when it comes by ``segment.written``
for the first time, ``segment.written:3`` at the third. Without the variable a call costs a dictionary's
look-up. Nobody but tests sets it. A new step gets a name here, ``area.step`` for what has just been done, and
a scenario in ``tests/crash`` that comes by.
"""

from __future__ import annotations

import os
import signal
import threading
from functools import cache
from typing import Final

VARIABLE: Final = "SIGHTLINE_FAULTPOINT"
POINTS: Final = frozenset(
    {
        # Any file that appears whole: segments, generations, codecs, what is learned. Then any original or
        # thumbnail in a local folder.
        "file.aside",
        "file.renamed",
        "blob.aside",
        "blob.renamed",
        # Any transaction that writes, before and after it is committed.
        "catalog.committing",
        "catalog.committed",
        # From bytes to a row, and to the workers.
        "original.kept",
        "register.moved",
        "register.registered",
        "register.listed",
        "register.pruned",
        "listing.resumed",
        "queue.sent",
        "queue.noted",
        # From a row to searchable.
        "embed.leased",
        "embed.read",
        "embed.decoded",
        "embed.encoded",
        "thumbnail.kept",
        "segment.written",
        "embed.published",
        "task.split",
        # From an image to texts.
        "captions.begun",
        "captions.listed",
        "captions.written",
        "features.written",
        "captions.finished",
        # Saved searches: verdicts that nobody kept yet, kept ones, and a receiver that was told.
        "saved.judged",
        "saved.kept",
        "webhook.sent",
        # The builder.
        "sweep.expired",
        "fold.built",
        "fold.published",
        "compact.published",
        "recode.published",
        "codec.kept",
        "texts.drawn",
        "clean.noted",
        "clean.aside",
        "clean.deleted",
        "clean.unlinked",
        "clean.forgotten",
        "release.taken",
        "release.asked",
        "release.removed",
        # An approximate index: what was learned, each part, and the file that names them.
        "ivf.trained",
        "ivf.part",
        "ivf.manifest",
        # What is to leave no trace.
        "purge.begun",
        "purge.rewritten",
        "purge.files",
        "purge.blobs",
        "purge.scrubbed",
        # The owner.
        "backup.exported",
        "backup.copied",
        "backup.pointed",
        "restore.begun",
        "restore.filed",
        "restore.placed",
        "repair.published",
    }
)
"""Every name there is."""


def faultpoint(name: str) -> None:
    """Die here, if the variable says so."""
    armed = _armed()
    if armed is not None:
        armed.pass_by(name)


class _Armed:
    """Counts how often a process came by one point; threads come by together."""

    def __init__(self, name: str, time: int) -> None:
        self._name = name
        self._left = time
        self._lock = threading.Lock()

    def pass_by(self, name: str) -> None:
        if name != self._name:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()  # the other threads may run on for a moment; this one does not


@cache
def _armed() -> _Armed | None:
    """What the variable says, read once. ValueError: it names no point, and nothing would ever happen."""
    name, _, time = os.environ.get(VARIABLE, "").partition(":")
    if not name:
        return None
    if name not in POINTS:
        raise ValueError(f"{VARIABLE} names {name!r}, which is no fault point.")
    return _Armed(name, int(time or "1"))
