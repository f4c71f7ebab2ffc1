"""Groups of near duplicates, from pairs.

A group is one picture and all that match it: the one that matches most, which is the original of several
crops, where that is there, for two crops need not match each other. Chains do not make groups: that the first
matches the second and the second the third says nothing of the first and the third.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.duplicate_records import Alike, Member

GroupKind = Literal["same bytes", "same picture"]


@dataclass(frozen=True)
class DuplicateGroup:
    """``images``: the largest first (area, then bytes, then the one that came first).

    ``kind``: whether all of them are the same bytes, or the same picture in different files.
    """

    kind: GroupKind
    images: Sequence[Member]

    @property
    def largest(self) -> Member:
        """The one to keep, mostly."""
        return self.images[0]

    @property
    def key(self) -> int:
        """The least key: groups are listed by it."""
        return min(image.key for image in self.images)


def groups_of(alike: Alike) -> list[DuplicateGroup]:
    """All groups of two images or more, each image in one, by least key. The same input, the same groups."""
    by_content: dict[str, list[Member]] = defaultdict(list)
    for member in sorted(alike.members, key=lambda one: one.key):
        by_content[member.sha256].append(member)
    matching: dict[str, set[str]] = defaultdict(set)
    for first, second in alike.pairs:
        matching[first].add(second)
        matching[second].add(first)
    free = set(by_content)
    groups = []
    by_matches = sorted(by_content, key=lambda sha: (-len(matching[sha]), *_rank(by_content[sha][0])))
    for content in by_matches:
        if content not in free:
            continue
        others = matching[content] & free - {content}
        free -= {content, *others}
        images = sorted((one for sha in {content, *others} for one in by_content[sha]), key=_rank)
        if len(images) > 1:
            groups.append(DuplicateGroup("same picture" if others else "same bytes", images))
    return sorted(groups, key=lambda group: group.key)


def _rank(member: Member) -> tuple[int, int, int]:
    return -member.area, -member.bytes, member.key
