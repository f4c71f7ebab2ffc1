"""Files of one kind in a folder that may hold anything: which are ours, and how they leave it.

Ours is what has exactly the name that a writer gives: 32 hexadecimal digits and the ending of its kind, or
the same behind the mark of what is not finished. Everything else, folders and symbolic links with such a
name too, is never moved or removed.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sightline.store.durable import ASIDE, sync_folder

SEGMENT: Final = ".segment.safetensors"
SEGMENT_KIND: Final = "segment"
"""How the catalog calls this kind; a generation has that of its index."""
SWEPT: Final = ".swept"
"""The folder, inside of the one that it serves, in which files wait that no row names."""
SPARED: Final = 10
"""So many unnamed files are no reason to doubt a catalog that names others."""


def new_name(ending: str) -> str:
    """A name that was never used before."""
    return f"{uuid.uuid4().hex}{ending}"


class OwnFiles:
    """The files that end with ``ending`` in ``folder``, which need not exist."""

    def __init__(self, folder: Path, ending: str) -> None:
        self.folder = folder
        self._finished = re.compile("[0-9a-f]{32}" + re.escape(ending))
        self._any = re.compile(f"(?:{re.escape(ASIDE)})?{self._finished.pattern}")

    def is_ours(self, name: str) -> bool:
        """Whether a writer of this kind gives such a name."""
        return self._any.fullmatch(name) is not None

    def is_finished(self, name: str) -> bool:
        """Whether it is a name under which a file is published."""
        return self._finished.fullmatch(name) is not None

    def stored(self) -> set[str]:
        """Names of all that are there, finished or not."""
        return set(self._ours_in(self.folder))

    def swept(self) -> set[str]:
        """Names of those that were set aside."""
        return set() if self._leads_away() else set(self._ours_in(self.folder / SWEPT))

    def set_aside(self, name: str) -> None:
        """Out of the way, in a rename. Nothing when it is not there or not ours."""
        self._move(name, self.folder, self.folder / SWEPT)

    def put_back(self, name: str) -> None:
        """Undoes `set_aside`. Nothing when it is not there or not ours."""
        self._move(name, self.folder / SWEPT, self.folder)

    def remove(self, name: str) -> None:
        """Deletes it. Nothing when it is not there or not ours."""
        if self._is_file(self.folder, name):
            (self.folder / name).unlink(missing_ok=True)

    def remove_swept(self, name: str) -> None:
        """Deletes one that was set aside. Nothing when it is not there or not ours."""
        if not self._leads_away() and self._is_file(self.folder / SWEPT, name):
            (self.folder / SWEPT / name).unlink(missing_ok=True)

    def _move(self, name: str, here: Path, there: Path) -> None:
        if not self._is_file(here, name) or os.path.lexists(there / name) or self._leads_away():
            return
        there.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            (here / name).rename(there / name)
            sync_folder(there)
            sync_folder(here)

    def _is_file(self, folder: Path, name: str) -> bool:
        path = folder / name
        return self.is_ours(name) and path.is_file() and not path.is_symlink()

    def _leads_away(self) -> bool:
        """Whether somebody made a link of our own folder: what it leads to is theirs."""
        return (self.folder / SWEPT).is_symlink()

    def _ours_in(self, folder: Path) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self.is_ours(entry.name) and entry.is_file(follow_symlinks=False):
                        yield entry.name
        except (FileNotFoundError, NotADirectoryError):
            return


class Shelf(NamedTuple):
    """One kind of files, and what asks the catalog for its names: those in use, and those it let go."""

    kind: str
    files: OwnFiles
    named: Callable[[], set[str]]
    released: Callable[[], set[str]]


def is_doubtful(named: int, unnamed: int) -> bool:
    """Whether a catalog that names so many of the finished files in a folder, and not those others, is not
    the one that they belong to: it names none of them, or less than half and more than ten are left over.
    """
    return unnamed > 0 and (named == 0 or (unnamed > SPARED and unnamed > named))
