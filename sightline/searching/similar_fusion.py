"""What words found and what is like a picture, in one order, by reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.searching.fusion import Fused, K

if TYPE_CHECKING:
    from sightline.retriever.records import Candidate
    from sightline.searching.questions import Found


def fuse_similar(text: Found, like: Sequence[Candidate], similarity: Mapping[int, float], most: int) -> Fused:
    """What a text found and what is ``like`` a picture (best first), as one order; its best ``most`` are the
    head. Ties by similarity.

    Only who has both scores, an ITC score with the text and a ``similarity``, is a candidate. Ranks are those
    of the order of both; ``unfound`` are then those that words alone brought.
    """
    fused = text.fused
    by_text = [*fused.head, *fused.rest]
    scored = {one.key: one for one in [*text.retrieved.candidates, *text.retrieved.others, *by_text]}
    worth: dict[int, float] = {}
    for ranked in (by_text, like):
        for rank, one in enumerate(ranked, 1):
            if one.key in scored and one.key in similarity:
                worth[one.key] = worth.get(one.key, 0.0) + 1.0 / (K + rank)
    best = sorted(worth, key=lambda key: (-worth[key], -similarity[key], key))
    order = [replace(scored[key], itc_rank=rank) for rank, key in enumerate(best, 1)]
    by_words = (fused.unfound & fused.said.keys()) - {one.key for one in like}
    return Fused(order[:most], order[most:], fused.said, frozenset(by_words), similarity)
