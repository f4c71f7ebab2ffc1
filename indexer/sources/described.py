"""Files of folders with what lies beside them: captions, facts, and shards that are entered."""

from __future__ import annotations

import os
from functools import partial

from sightline.indexer.files import read_local
from sightline.indexer.items import Origin, SourceItem
from sightline.indexer.roots import Roots
from sightline.indexer.sidecars.beside import MOST_NAMES, Beside
from sightline.indexer.sidecars.facts import MOST_BYTES, SIDECARS, Facts, stem_of, told
from sightline.indexer.sidecars.takeout import KIND
from sightline.indexer.sources.folders import FoundFile, names_in

NOTHING = Beside((), lambda name: b"")


class Neighbours:
    """What lies beside each file of a walk, one folder at a time in memory."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._folder = ""
        self._beside = NOTHING

    def of(self, file: FoundFile) -> Beside:
        """The files of the folder in which this one lies."""
        folder = os.path.dirname(file.path)
        if folder != self._folder:
            self._folder, self._beside = folder, _beside(folder, self._roots)
        return self._beside


def described(item: SourceItem, facts: Facts | None, folder: str) -> SourceItem:
    """The item with what is known of it; ``folder``: where it lies, relative to the source."""
    if facts is None:
        return item
    origin = Origin(facts.kind, str(facts.metadata.get("album", "")) if facts.kind == KIND else folder)
    return told(item, facts, origin if facts.kind else None)


def own_sidecars(file: FoundFile, roots: Roots) -> Beside:
    """What lies beside one file that was named, found by its name: its folder may hold very many."""
    folder, name = os.path.split(file.path)
    endings = [form for ending in SIDECARS for form in (ending, ending.upper())]
    names = [f"{stem_of(name)}.{ending}" for ending in endings]
    there = [one for one in names if os.path.isfile(os.path.join(folder, one))]
    return Beside([name, *there], partial(_read, folder, roots)) if there else NOTHING


def _beside(folder: str, roots: Roots) -> Beside:
    names = names_in(folder, roots, MOST_NAMES)
    return Beside(names, partial(_read, folder, roots)) if names else NOTHING


def _read(folder: str, roots: Roots, name: str) -> bytes:
    return read_local(os.path.join(folder, name), MOST_BYTES, roots)
