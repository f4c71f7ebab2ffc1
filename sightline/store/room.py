"""Whether a disk has room for what is about to be written, told before anything is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import NoRoomError


@dataclass(frozen=True)
class Need:
    """``bytes`` that will be written below ``folder`` (which need not exist) for ``what``, a few words."""

    what: str
    folder: Path
    bytes: int


def check_room(needs: Sequence[Need], advice: str) -> list[str]:
    """A sentence for each disk: how much is needed of what is free.

    ``advice`` says what to do when it is too little, as the end of a sentence.

    Raises:
        NoRoomError: a disk has less room than is needed; nothing was written.
    """
    said = []
    for group in _by_disk(needs):
        place, total = existing(group[0].folder), sum(need.bytes for need in group)
        free = shutil.disk_usage(place).free
        parts = ", ".join(f"{need.what} {size(need.bytes)}" for need in group)
        where = f"on the disk of {group[0].folder}, where {size(free)} are free"
        if total > free:
            raise NoRoomError(f"The disk is too small: {size(total)} are needed ({parts}) {where}; {advice}.")
        said.append(f"Up to {size(total)} will be written ({parts}) {where}.")
    return said


def size(count: int) -> str:
    """Bytes for a person, by powers of ten: ``82.1 GB``."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _by_disk(needs: Sequence[Need]) -> list[list[Need]]:
    groups: dict[int, list[Need]] = {}
    for need in needs:
        if need.bytes > 0:
            groups.setdefault(existing(need.folder).stat().st_dev, []).append(need)
    return list(groups.values())
