"""Folders belong to an installation: each carries a file that says to which, compared with the catalog's id.

Whoever writes into a folder claims it before, whoever removes something from it asks again. A folder without
such a file is taken over when that can hurt nobody: nothing of ours lies in it, or the catalog names most of
it. The *stamp* beside the file changes with every look of the builder, here and in the catalog: a copy of the
catalog, or an older state of it, finds one that it does not know, and removes nothing.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sightline.errors import ConflictError, UnavailableError
from sightline.store.durable import sync_folder
from sightline.store.own_files import SEGMENT, SEGMENT_KIND, OwnFiles, Shelf, is_doubtful
from sightline.store.storage import storage_error

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes

MARKER: Final = ".sightline-installation"
"""Its name. A listing of pictures leaves out every folder that holds it."""
STAMP: Final = ".sightline-stamp"
REMEDY: Final = "point the settings elsewhere, or look at it with `sightline adopt` and take it over"


class Place(NamedTuple):
    """A folder of an installation: what it holds, and the shelves of files whose names the catalog knows."""

    holds: str
    folder: Path
    shelves: Sequence[Shelf] = ()


class Marker(NamedTuple):
    """Whose a folder is, and what for."""

    installation: str
    holds: str


class Census(NamedTuple):
    """How many finished files of ours lie in a place: those that the catalog knows, and the others."""

    named: int
    unnamed: int


def places_of(catalog: Catalog, segments: Path, indexes: Indexes) -> list[Place]:
    """The folders of segments and of generations; all kinds of the latter mostly share one."""
    files = OwnFiles(segments, SEGMENT)
    released = partial(catalog.loose_files, SEGMENT_KIND, "released")
    places = [Place("segments", segments, [Shelf(SEGMENT_KIND, files, catalog.segment_files, released)])]
    by_folder: dict[Path, list[Shelf]] = {}
    released = partial(_released, catalog, tuple(indexes.backends))
    for kind, backend in indexes.backends.items():
        shelf = Shelf(kind, backend.files, catalog.generation_files, released)
        by_folder.setdefault(backend.files.folder, []).append(shelf)
    return places + [Place("generations", folder, shelves) for folder, shelves in by_folder.items()]


def _released(catalog: Catalog, kinds: Sequence[str]) -> set[str]:
    """Of all kinds together: two of them may give their files the same ending."""
    return set().union(*(catalog.loose_files(kind, "released") for kind in kinds))


def marker_text(installation: str, holds: str) -> bytes:
    """What the file says."""
    return (json.dumps({"installation": installation, "holds": holds}) + "\n").encode()


def read_marker(text: bytes, place: str) -> Marker:
    """What it says. ConflictError: it is damaged."""
    try:
        found = json.loads(text)
        return Marker(str(found["installation"]), str(found["holds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictError(
            f"The file {MARKER} in {place} cannot be read, so nobody knows whose folder it is: {REMEDY}."
        ) from error


def owner_of(folder: Path) -> str | None:
    """The installation of a folder; None when it does not say. ConflictError as `read_marker`."""
    try:
        return read_marker((folder / MARKER).read_bytes(), str(folder)).installation
    except (FileNotFoundError, NotADirectoryError):
        return None


def require_catalog(folder: Path, catalog: Path) -> None:
    """Before an empty catalog is made in a data folder: it must not be another one's, which lies elsewhere.

    A file without tables is as good as none: it is what is left where a catalog was lost.

    Raises:
        ConflictError: it is.
    """
    from sightline.store.sqlite import has_tables  # SQL, which not all need that ask whose a folder is

    owner = owner_of(folder)
    if owner is not None and not has_tables(catalog):
        raise ConflictError(
            f"The data folder {folder} is that of the installation {owner[:12]}, whose catalog is not in it: "
            f"set SIGHTLINE_DATABASE_URL as before, restore {catalog.name}, or remove {folder / MARKER}."
        )


def claim_all(places: Sequence[Place], installation: str) -> None:
    """All folders are ours from now on, and were before, or nobody's; else nothing is written to any.

    Raises:
        ConflictError: one belongs to another installation, or holds files of ours that this catalog does not
            know.
        UnavailableError: one cannot be written to now.
    """
    unsigned = [place for place in places if not _is_signed(place, installation)]
    for place in unsigned:
        # Where this process may not write it could do no harm either.
        if not place.folder.is_dir() or os.access(place.folder, os.W_OK):
            _sign(place, installation)
            _is_signed(place, installation)


def census(place: Place) -> Census:
    """What lies there. Listed before the names are read: what is published meanwhile is named."""
    named = unnamed = 0
    for shelf in place.shelves:
        stored = {name for name in shelf.files.stored() if shelf.files.is_finished(name)}
        known = stored & (shelf.named() | shelf.released()) if stored else stored
        named, unnamed = named + len(known), unnamed + len(stored - known)
    return Census(named, unnamed)


def adopt(places: Iterable[Place], catalog: Catalog) -> None:
    """The folders are ours, whoever's they were, and whatever stamp they carry."""
    catalog.adopt_stamps()
    installation = catalog.installation_id()
    for place in places:
        place.folder.mkdir(parents=True, exist_ok=True)
        for note in place.folder.glob(f"{MARKER}.*"):
            note.unlink(missing_ok=True)
        (place.folder / STAMP).unlink(missing_ok=True)
        write_whole(place.folder / MARKER, marker_text(installation, place.holds))


def require_own(places: Sequence[Place], catalog: Catalog) -> None:
    """Before something is erased by its key alone.

    Raises:
        ConflictError: a folder is another installation's, or another copy of this catalog is at work in it.
    """
    claim_all(places, catalog.installation_id())
    for folder in strange_stamps(places, catalog.known_stamps()):
        raise ConflictError(
            f"The folder {folder} was cleaned for another copy of this catalog, or a later state of it, so "
            f"nothing is erased from it: {REMEDY}."
        )


def strange_stamps(places: Iterable[Place], known: Iterable[str]) -> list[Path]:
    """The folders in which another copy of the catalog has been at work."""
    mine = set(known)
    return [place.folder for place in places if _stamp_of(place.folder) not in mine | {None}]


def stamp(places: Iterable[Place], text: str) -> None:
    """Write it into the folders."""
    for place in places:
        write_whole(place.folder / STAMP, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Durably, in place of what was there; never half."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        _write(aside, content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _is_signed(place: Place, installation: str) -> bool:
    """Whether it carries our marker; False when it could. ConflictError as `claim_all`."""
    owner = owner_of(place.folder)
    if owner is None:
        named, unnamed = census(place)
        if is_doubtful(named, unnamed):
            raise ConflictError(
                f"The folder {place.folder} holds {named + unnamed} files that are {place.holds}, and this "
                f"catalog knows {named} of them, so they are another installation's: {REMEDY}."
            )
    elif owner != installation:
        raise ConflictError(
            f"The folder {place.folder} is for {place.holds} of the installation {owner[:12]}, and this "
            f"catalog is that of {installation[:12]}: {REMEDY}."
        )
    return owner is not None


def _sign(place: Place, installation: str) -> None:
    """Write the marker unless somebody else is faster."""
    marker = place.folder / MARKER
    aside = marker.with_name(f"{MARKER}.{uuid.uuid4().hex}")
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        try:
            _write(aside, marker_text(installation, place.holds))
            with suppress(FileExistsError):
                _link(aside, marker)
        finally:
            aside.unlink(missing_ok=True)
        sync_folder(place.folder)
    except OSError as error:
        if (full := storage_error(error, place.folder)) is not None:
            raise full from error
        raise UnavailableError(
            f"The folder {place.folder} of the {place.holds} cannot be written to: {error.strerror}."
        ) from error


def _link(aside: Path, marker: Path) -> None:
    """Give the file its name unless there is one of that name; some file systems know no links."""
    try:
        os.link(aside, marker)
    except FileExistsError:
        raise
    except OSError:
        aside.rename(marker)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _stamp_of(folder: Path) -> str | None:
    try:
        return (folder / STAMP).read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
