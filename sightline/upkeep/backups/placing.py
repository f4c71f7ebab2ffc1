"""The last step of a restore: the new catalog where the old one was, and the old one whole beside it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from sightline.store.catalog import open_catalog
from sightline.store.durable import sync_folder
from sightline.store.places import copy_file
from sightline.store.portable import import_catalog, sqlite_file
from sightline.store.sqlite import is_log_emptied

PIECES: Final = ("-wal", "-shm", "")
"""What a SQLite catalog consists of. The log goes first: it must never meet another file."""
HEADER: Final = b"SQLite format 3\0"


def put_catalog(path: Path, url: str, *, replace: bool) -> None:
    """A prepared file becomes the catalog at ``url``; a file there is nobody else's, for it is locked.

    ConflictError: ``replace`` is not given, and another restore was faster on a server.
    """
    file = sqlite_file(url)
    if file is None:
        with closing(open_catalog(url)) as catalog:
            import_catalog(path, catalog.database, replace=replace)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.restoring")
    copy_file(path, aside)
    set_aside(file)
    aside.rename(file)
    sync_folder(file.parent)


def set_aside(file: Path) -> None:
    """A catalog under a name of its own, with its log, where SQLite finds it; nothing when none is there."""
    if _is_sqlite(file):  # else SQLite would delete the log: it is moved as it is
        with suppress(sqlite3.DatabaseError):
            is_log_emptied(str(file))  # a kill between two of the renames parts nothing then
    name = f"{file.name}.replaced-{time.time_ns()}"
    for piece in PIECES:
        with suppress(FileNotFoundError):
            Path(f"{file}{piece}").rename(file.with_name(f"{name}{piece}"))


def _is_sqlite(file: Path) -> bool:
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(len(HEADER)) == HEADER
    return False
