"""Whose the folders of an installation are, what lies in them, and how they are taken over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sightline.errors import ConflictError
from sightline.store.cascade_files import FOLDER
from sightline.store.own_files import SPARED, SWEPT, is_doubtful
from sightline.store.ownership import MARKER, STAMP, Place, adopt, census, owner_of, strange_stamps

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog

SHOWN = 3
"""Names of foreign files that are told."""


@dataclass(frozen=True)
class FolderState:
    """One folder: ``named`` and ``unnamed`` finished files of ours, those ``aside``, and ``foreign`` names.

    ``problem`` says why nothing is written to it or removed from it, and what to do; None: all is well.
    """

    holds: str
    folder: Path
    named: int
    unnamed: int
    aside: int
    foreign: Sequence[str]
    problem: str | None = None

    @property
    def status(self) -> Literal["ok", "note", "problem"]:
        """As a finding of the doctor."""
        if self.problem is not None:
            return "problem"
        return "note" if self.unnamed or self.aside or self.foreign else "ok"

    @property
    def detail(self) -> str:
        """One sentence."""
        if self.problem is not None:
            return self.problem
        parts = [f"{self.folder}, {self.named} files that the catalog names"]
        if self.unnamed:
            parts.append(f"{self.unnamed} that it does not, to be set aside")
        if self.aside:
            parts.append(f"{self.aside} set aside in {SWEPT}, to be deleted")
        if self.foreign:
            more = ", …" if len(self.foreign) > SHOWN else ""
            names = ", ".join(self.foreign[:SHOWN]) + more
            parts.append(f"{len(self.foreign)} that are not ours and stay ({names})")
        return "; ".join(parts)


class Folders:
    """Looks at all folders; ``places`` opens what is needed to know them."""

    def __init__(self, catalog: Catalog, places: Callable[[], Sequence[Place]]) -> None:
        self._catalog = catalog
        self._places = places

    def look(self) -> Iterator[FolderState]:
        """One after the other; writes nothing."""
        installation = self._catalog.installation_id()
        known = self._catalog.known_stamps()
        for place in self._places():
            named, unnamed = census(place)
            swept = sum(len(shelf.files.swept()) for shelf in place.shelves)
            problem = self._problem(place, installation, known)
            if problem is None and unnamed > SPARED and is_doubtful(named, unnamed):
                problem = (
                    f"{place.folder} holds {named + unnamed} files, this catalog knows {named} of them, so "
                    "nothing is removed: restore the right catalog, or move the others away yourself"
                )
            yield FolderState(place.holds, place.folder, named, unnamed, swept, _foreign(place), problem)

    def adopt(self) -> None:
        """They are this installation's, whosever they were."""
        adopt(self._places(), self._catalog)

    def _problem(self, place: Place, installation: str, known: frozenset[str]) -> str | None:
        try:
            owner = owner_of(place.folder)
        except ConflictError as error:
            return str(error)
        if owner not in (None, installation):
            return (
                f"{place.folder} belongs to the installation {owner}, and this catalog to {installation}: "
                "point the setting elsewhere, or take it over with `sightline adopt --yes`"
            )
        if strange_stamps([place], known) and strange_stamps([place], self._catalog.known_stamps()):
            return (
                f"{place.folder} was cleaned for another copy or a later state of this catalog, so nothing "
                "is removed from it: when this one is the only one, say so with `sightline adopt --yes`"
            )
        return None


def _foreign(place: Place) -> list[str]:
    """Names of what lies among our files and is not ours; a place without shelves may hold anything."""
    if not place.shelves or not place.folder.is_dir():
        return []
    ours = {MARKER, STAMP, SWEPT, FOLDER, "codecs"}
    return sorted(
        path.name
        for path in place.folder.iterdir()
        if path.name not in ours and not any(shelf.files.is_ours(path.name) for shelf in place.shelves)
    )
