"""Folders that belong to an installation: what lies there is ours or another's of our kind, and no source.

Its folders carry a mark. Data folders of earlier versions have none, and are known by what they hold: the
catalog beside folders of ours. Those of this installation are known from its settings, wherever they lie.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sightline.errors import SourceError
from sightline.indexer.files import readable
from sightline.store.ownership import MARKER

CATALOG: Final = "catalog.sqlite"
FOLDERS: Final = frozenset({"segments", "generations", "originals", "thumbnails", "broker", "logs"})
STORES: Final = frozenset({"originals", "thumbnails"})
_BLOB: Final = re.compile(r"[0-9a-f]{64}(\.webp)?")
_SHARDS: Final = frozenset(f"{number:02x}" for number in range(256))


class OwnFolders:
    """The folders of this installation, as far as they are local; what does not exist is not among them."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = tuple(paths)
        self._places = {place for path in self._paths if (place := _place(path)) is not None}

    def owns(self, path: str) -> bool:
        """Whether a folder is one of them by now: they may have been made since this listing began."""
        return _place(path) in {_place(one) for one in self._paths}

    def is_ours(self, state: os.stat_result) -> bool:
        """Whether a folder (its ``os.stat``) is one of them."""
        return (state.st_dev, state.st_ino) in self._places

    def has(self, path: str, state: os.stat_result) -> bool:
        """Whether a folder (with its ``os.stat``) is one of them, or one of another installation."""
        return self.is_ours(state) or is_installation(path)

    def check_source(self, path: str, state: os.stat_result) -> None:
        """Raises SourceError for a folder of an installation that was named as a source."""
        if self.has(path, state):
            raise SourceError(
                f"{readable(path)} is a folder of a Sightline installation and holds no pictures of yours: "
                "name the folder of the pictures."
            )


def is_installation(path: str) -> bool:
    """Whether a folder carries the mark, or is a data folder or a store of blobs from before there was it."""
    if os.path.lexists(os.path.join(path, MARKER)):
        return True
    if os.path.basename(path) in STORES and _holds_blobs(path):
        return True
    has_catalog = os.path.lexists(os.path.join(path, CATALOG))
    return has_catalog and any(os.path.isdir(os.path.join(path, name)) for name in FOLDERS)


def _holds_blobs(path: str) -> bool:
    """Whether all that a folder holds are folders of files that are named by their SHA-256."""
    try:
        shard = None
        with os.scandir(path) as entries:  # until one is none: there may be a million
            for entry in entries:
                if entry.name not in _SHARDS:
                    return False
                shard = shard or entry.path
        names = [] if shard is None else os.listdir(shard)
    except OSError:
        return False
    return bool(names) and all(_BLOB.fullmatch(name) for name in names)


def is_remote_installation(folders: Collection[str], files: Collection[str]) -> bool:
    """The same, of a folder that is known by what it lists."""
    return MARKER in files or (CATALOG in files and not FOLDERS.isdisjoint(folders))


def installations_in(names: Iterable[Sequence[str]]) -> set[tuple[str, ...]]:
    """The folders of installations among the files of an archive, whose paths are given in parts.

    Known by their mark, or by the catalog beside a folder of ours.
    """
    marked: set[tuple[str, ...]] = set()
    catalogs: set[tuple[str, ...]] = set()
    parents: set[tuple[str, ...]] = set()
    for parts in names:
        *above, name = parts
        folder = tuple(above)
        if name == MARKER:
            marked.add(folder)
        elif name == CATALOG:
            catalogs.add(folder)
        for depth, part in enumerate(above):
            if part in FOLDERS:
                parents.add(folder[:depth])
    return marked | (catalogs & parents)


def lies_in_one(parts: Sequence[str], folders: Collection[tuple[str, ...]]) -> bool:
    """Whether a path in parts is below one of these folders."""
    return bool(folders) and any(tuple(parts[:depth]) in folders for depth in range(len(parts)))


def _place(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino
