"""One hit of each group of near duplicates, the best of them; the others are named beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from sightline.retriever.records import Candidate
    from sightline.searching.duplicates import Duplicates
    from sightline.searching.fusion import Fused
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection


class Keyed(Protocol):
    """Whatever stands for one image."""

    @property
    def key(self) -> int: ...


K = TypeVar("K", bound=Keyed)


@dataclass(frozen=True)
class Folding:
    """Which candidates of one search are the same picture. Without groups nothing is folded.

    ``group_of``: key → group; ``members``: group → keys; ``ids``: key → image id, of those in groups.
    """

    group_of: dict[int, int] = field(default_factory=dict)
    members: dict[int, list[int]] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)
    degraded: tuple[str, ...] = ()

    def fold(self, ranked: Sequence[K]) -> list[K]:
        """The first of each group, in order."""
        seen: set[int] = set()
        kept = []
        for one in ranked:
            group = self.group_of.get(one.key)
            if group is None or group not in seen:
                kept.append(one)
            if group is not None:
                seen.add(group)
        return kept

    def others(self, key: int) -> tuple[str, ...]:
        """The ids of the other candidates in the group of one, the oldest first."""
        group = self.group_of.get(key)
        return () if group is None else tuple(self.ids[one] for one in self.members[group] if one != key)


NOTHING_FOLDED = Folding()


class Collapsing:
    """Thread-safe."""

    def __init__(self, catalog: Catalog, duplicates: Duplicates) -> None:
        self._catalog = catalog
        self._duplicates = duplicates

    def of(self, collection: Collection, fused: Fused) -> Folding:
        """The folding of a search's candidates; what is new is compared for a moment."""
        degraded = self._duplicates.catch_up(collection)
        group_of_content = self._duplicates.group_of(collection)
        candidates: Sequence[Candidate] = [*fused.head, *fused.rest]
        named = self._catalog.names_of([one.key for one in candidates]) if group_of_content else {}
        group_of = {
            key: group_of_content[sha256] for key, (sha256, _) in named.items() if sha256 in group_of_content
        }
        members: dict[int, list[int]] = {}
        for key in sorted(group_of):
            members.setdefault(group_of[key], []).append(key)
        return Folding(group_of, members, {key: named[key][1] for key in group_of}, degraded)
