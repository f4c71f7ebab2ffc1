"""Candidates of two kinds in one order: those that ITC found, and those that words of their texts brought.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): a candidate is worth the sum of
1 / (60 + rank) over the lists that have it. ITM judges the best of them, whoever found them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sightline.records import FoundBy
    from sightline.retriever.records import Candidate, Retrieved
    from sightline.store.text_records import TextHit

K: Final = 60
"""As in the paper: how little the first ranks of one list count before those of the other."""


@dataclass(frozen=True)
class Fused:
    """``head``: what ITM judges, ``rest``: what ITC found besides, in its order; ``said``: key → its text,
    of those that words brought; ``unfound``: keys that ITC had not found among as many as it was asked for;
    ``similarity``: key → how like the query picture it is, where there is one.

    An unfound candidate has its exact ITC score, and a rank below all that ITC found.
    """

    head: Sequence[Candidate]
    rest: Sequence[Candidate]
    said: dict[int, str] = field(default_factory=dict)
    unfound: frozenset[int] = frozenset()
    similarity: Mapping[int, float] = field(default_factory=dict)

    def found_by(self, key: int) -> FoundBy:
        """Who brought an image."""
        if key not in self.said:
            return "picture"
        return "text" if key in self.unfound else "both"


def fuse(found: Retrieved, texts: Sequence[TextHit], most: int) -> Fused:
    """The best ``most`` candidates of both lists; ties by ITC. Without texts: the first that ITC found."""
    if not texts:
        return Fused(found.candidates[:most], found.candidates[most:])
    below = len(found.candidates)
    others = [replace(one, itc_rank=below + place) for place, one in enumerate(found.others, 1)]
    worth = {one.key: 1.0 / (K + one.itc_rank) for one in found.candidates[:most]}
    alive = {one.key: one for one in [*found.candidates, *others]}
    said = {hit.key: hit.text for hit in texts if hit.key in alive}
    for rank, key in enumerate(said, 1):
        worth[key] = worth.get(key, 0.0) + 1.0 / (K + rank)
    best = sorted(worth, key=lambda key: (-worth[key], alive[key].itc_rank))[:most]
    chosen = set(best)
    rest = [one for one in found.candidates if one.key not in chosen]
    return Fused([alive[key] for key in best], rest, said, frozenset(one.key for one in others))


def fuse_similar(
    fused: Fused, found: Retrieved, like: Sequence[Candidate], similarity: Mapping[int, float], most: int
) -> Fused:
    """What a text ``found``, ``fused`` with words, and what is ``like`` a picture (best first), as one order.

    Its best ``most`` are the head. Ties by similarity.

    Only who has both scores, an ITC score with the text and a ``similarity``, is a candidate. Ranks are those
    of the order of both; ``unfound`` are then those that words alone brought.
    """
    by_text = [*fused.head, *fused.rest]
    scored = {one.key: one for one in [*found.candidates, *found.others]}
    worth: dict[int, float] = {}
    for ranked in (by_text, like):
        for rank, one in enumerate(ranked, 1):
            if one.key in scored and one.key in similarity:
                worth[one.key] = worth.get(one.key, 0.0) + 1.0 / (K + rank)
    best = sorted(worth, key=lambda key: (-worth[key], -similarity[key], key))
    order = [replace(scored[key], itc_rank=rank) for rank, key in enumerate(best, 1)]
    by_words = (fused.unfound & fused.said.keys()) - {one.key for one in like}
    return Fused(order[:most], order[most:], fused.said, frozenset(by_words), similarity)
