"""The files of one folder, as far as they describe each other: which are pictures, sidecars, shards."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

from sightline.errors import ImageRejected
from sightline.indexer.items import BAD_SIDECAR, SourceProblem
from sightline.indexer.sidecars.facts import PICTURES, SIDECARS, Facts, ending_of, read_facts, stem_of
from sightline.indexer.sidecars.takeout import Takeout

MOST_NAMES: Final = 200_000
"""Of a folder with more files than this nothing is kept in memory, and so none is taken for a sidecar."""
_SHARD: Final = re.compile(r".*\d{3,}\.tar(\.gz)?", re.IGNORECASE | re.DOTALL)
_STATS: Final = "_stats.json"


class Beside:
    """``names`` of files and folders; ``read`` gives the bytes of a small file by its name."""

    def __init__(self, names: Collection[str], read: Callable[[str], bytes]) -> None:
        self._names = frozenset(names)
        self._read = read
        self._pictures = {stem_of(name) for name in names if ending_of(name) in PICTURES}
        self._own = sidecars_of(names)
        self._takeout = Takeout([name for name in names if ending_of(name) == "json"], read)

    def facts(self, name: str) -> Facts | None:
        """What the other files say of this picture; None for no picture, and when they say nothing."""
        if ending_of(name) not in PICTURES:
            return None
        return self._takeout.facts(name) or self._own_facts(name)

    def is_sidecar(self, name: str) -> bool:
        """Whether this file only describes others: a caption, a JSON, what img2dataset counted."""
        ending = ending_of(name)
        if ending == "json" and name.endswith(_STATS) and self._has_shard(name.removesuffix(_STATS)):
            return True
        if ending not in SIDECARS:
            return self.is_companion(name)
        return stem_of(name) in self._pictures or (ending == "json" and self._takeout.is_sidecar(name))

    def is_companion(self, name: str) -> bool:
        """Whether this table repeats what a shard of the same name holds: img2dataset writes both."""
        stem = stem_of(name)
        return ending_of(name) == "parquet" and (f"{stem}.tar" in self._names or stem in self._names)

    def is_shard(self, name: str) -> bool:
        """Whether this archive is one of a numbered series, in a folder that has no pictures of its own."""
        return not self._pictures and _SHARD.fullmatch(name) is not None

    def _has_shard(self, stem: str) -> bool:
        return not self._names.isdisjoint((f"{stem}.tar", f"{stem}.parquet", stem))

    def _own_facts(self, name: str) -> Facts | None:
        """Of the files with the same stem."""
        there = self._own.get(stem_of(name), [])
        files, faults = {}, []
        for sidecar in there:
            try:
                files[sidecar] = self._read(sidecar)
            except ImageRejected as error:
                faults.append((sidecar, error.detail.removesuffix(".")))
        if not there:
            return None
        found = read_facts(files)
        return Facts(found.caption, found.metadata, found.image_id, found.kind, (*found.faults, *faults))


def sidecars_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The files that may describe a picture by its name without ending; those that count first come first."""
    found: dict[str, list[str]] = {}
    for name in names:
        if ending_of(name) in SIDECARS:
            found.setdefault(stem_of(name), []).append(name)
    for those in found.values():
        those.sort(key=lambda name: (SIDECARS.index(ending_of(name)), name))
    return found


def problems(facts: Facts | None, at: Callable[[str], tuple[str, str]]) -> list[SourceProblem]:
    """One for each file beside a picture that could not be read; ``at`` gives its id and its address."""
    return [
        SourceProblem(*at(name), BAD_SIDECAR, f"{detail}; its picture is indexed without it.")
        for name, detail in (facts.faults if facts is not None else ())
    ]
