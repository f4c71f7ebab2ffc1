"""Names below a folder that were touched, each until it has settled: no file is read half written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from sightline.imaging.file_kinds import claims_picture
from sightline.indexer.files import is_ignored, is_text
from sightline.indexer.installations import OwnFolders
from sightline.indexer.sources.some import in_installation

SETTLE_SECONDS: Final = 0.5
"""A file whose size and time were the same so long is taken for written."""
BATCH: Final = 400
"""Names of one job."""
State = tuple[int, int, int] | None
"""Of a name on the disk: its inode, bytes and time in nanoseconds; None when it is not there."""


class Gathering:
    """What changed below one folder. Not thread-safe."""

    def __init__(self, top: str, own: OwnFolders | None = None, now: Callable[[], float] = monotonic) -> None:
        """``own``: what lies in them is passed over, or the work on one change would be the next change."""
        self._top = top
        self._own = own or OwnFolders()
        self._now = now
        self._waiting: dict[str, tuple[State, float]] = {}
        self.whole = False
        """Whether names alone do not tell what to do: the whole folder must be listed again."""

    @property
    def waits(self) -> bool:
        """Whether there is anything that has to settle, or be listed."""
        return self.whole or bool(self._waiting)

    def note(self, path: str, *, modified: bool = False) -> None:
        """Something happened to an absolute path. Of a folder only that it came or went is of interest."""
        name = os.path.relpath(path, self._top)
        if name == "." or name.startswith("../") or any(map(is_ignored, name.split("/"))):
            return
        if in_installation(self._top, name, self._own):
            return
        if modified and os.path.isdir(path) and not os.path.islink(path):
            return
        if self._is_odd(name):
            self.whole = True
            return
        for one in (name, *related(self._top, name)):
            self._waiting.setdefault(one, (self._state(one), self._now()))

    def list_all(self) -> None:
        """Everything is to be listed again; what was noted is part of it."""
        self.whole = True

    def settled(self) -> list[str]:
        """At most `BATCH` names that have not changed for a while; they are forgotten here."""
        found: list[str] = []
        for name, (before, since) in list(self._waiting.items()):
            state = self._state(name)
            if state != before:
                self._waiting[name] = (state, self._now())
            elif self._now() - since >= SETTLE_SECONDS and len(found) < BATCH:
                found.append(name)
                del self._waiting[name]
        return sorted(_outermost(found))

    def _state(self, name: str) -> State:
        try:
            state = os.stat(os.path.join(self._top, name))
        except OSError:
            return None
        return state.st_ino, state.st_size, state.st_mtime_ns

    def _is_odd(self, name: str) -> bool:
        """A name that leads through a link, or to a folder by one, or that is no text."""
        parts = name.split("/")
        above = (os.path.join(self._top, *parts[:depth]) for depth in range(1, len(parts)))
        path = os.path.join(self._top, name)
        linked = os.path.islink(path) and not os.path.isfile(path)
        return not is_text(name) or linked or any(map(os.path.islink, above))


def related(top: str, name: str) -> list[str]:
    """Pictures that a file which is none may describe: those beside it whose name begins as its own does."""
    folder, _, last = name.rpartition("/")
    stem = os.path.splitext(last)[0]
    if claims_picture(last) or not stem or os.path.isdir(os.path.join(top, name)):
        return []
    try:
        names = os.listdir(os.path.join(top, folder))
    except OSError:
        return []
    beside = (one for one in names if claims_picture(one) and is_text(one) and not is_ignored(one))
    mine = (one for one in beside if os.path.splitext(one)[0] == stem or last.startswith(f"{one}."))
    return [f"{folder}/{one}" if folder else one for one in mine]


def _outermost(names: Iterable[str]) -> list[str]:
    """Without what lies below another of them."""
    given = set(names)
    parents = ((name, name.split("/")) for name in given)
    return [
        name
        for name, parts in parents
        if not any("/".join(parts[:depth]) in given for depth in range(1, len(parts)))
    ]
