"""Pictures as the page shows them, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sightline.api.discretion import shown_uri
from sightline.api.page_query import PageQuery
from sightline.api.urls import file_url, thumbnail_url
from sightline.queries import ClauseMatch
from sightline.records import FoundBy, SearchHit, SearchResponse
from sightline.store.records import Image


@dataclass(frozen=True)
class Tile:
    """One picture. Rank fields are None when nothing was searched for; ``shown``: in the current order."""

    id: str
    caption: str | None
    metadata: Mapping[str, Any]
    uri: str
    width: int
    height: int
    thumbnail: str
    file: str
    rank: int | None = None
    itc_rank: int | None = None
    found_by: FoundBy = "picture"
    matched_text: str | None = None
    itc: float | None = None
    itm_logit: float | None = None
    probability: float | None = None
    score: float | None = None
    similarity: float | None = None
    """To the picture that is asked with."""
    clauses: Sequence[ClauseMatch] = ()
    """How likely it shows each clause of what was asked for."""
    joined: float | None = None
    """When it joined the saved search that is looked at, in seconds since 1970."""
    shown: bool = True

    @property
    def ratio(self) -> float:
        """Width over height; the style sheet keeps it within what looks good in a row."""
        return self.width / max(self.height, 1)

    @property
    def moved(self) -> int | None:
        """How many places ITM raised it; None where ITM did not look."""
        if self.rank is None or self.itc_rank is None or self.probability is None:
            return None
        return self.itc_rank - self.rank

    @property
    def label(self) -> str:
        """What a screen reader says."""
        name = self.caption or self.id
        if self.joined is not None and self.probability is not None:
            return f"Match {percent(self.probability)}: {name}"
        if self.rank is None:
            return name
        if self.probability is None:
            how = "not judged" if self.similarity is None else f"similarity {self.similarity:.2f}"
            return f"Rank {self.rank}, {how}: {name}"
        how = f", {moved_words(self.moved)}" if self.moved is not None else ""
        how = ", found by its words" if self.found_by == "text" else how
        return f"Rank {self.rank}, match {percent(self.probability)}{how}: {name}"

    @property
    def data(self) -> str:
        """Everything the lightbox shows, as JSON."""
        names = ("id", "caption", "uri", "width", "height", "file", "thumbnail", "rank", "itc_rank", "itc")
        values = {
            name: getattr(self, name)
            for name in (
                *names,
                "itm_logit",
                "probability",
                "score",
                "similarity",
                "moved",
                "found_by",
                "matched_text",
            )
        }
        values["clauses"] = [asdict(one) for one in self.clauses]
        return json.dumps(values | {"metadata": dict(self.metadata)}, ensure_ascii=False, default=str)


def percent(probability: float) -> str:
    """A probability for people, that never rounds a doubt away."""
    value = probability * 100
    if value > 99.5:
        return "> 99 %" if value < 99.95 else "100 %"
    if value < 0.95:
        return "< 1 %"
    return f"{value:.0f} %"


def moved_words(moved: int) -> str:
    """The arrow in words."""
    if moved == 0:
        return "not moved"
    return f"{'raised' if moved > 0 else 'lowered'} {abs(moved)}"


def tile_of_image(image: Image, collection: str, root: str) -> Tile:
    """A picture of the collection, while nothing is searched for."""
    return Tile(
        id=image.image_id,
        caption=image.caption,
        metadata=image.metadata,
        uri=shown_uri(image.image_id, image.uri),
        width=image.width or 1,
        height=image.height or 1,
        thumbnail=thumbnail_url(collection, image.image_id, image.sha256, root),
        file=file_url(collection, image.image_id, image.sha256, root),
    )


def tile_of_hit(hit: SearchHit, collection: str, root: str, shown: bool) -> Tile:
    """A hit of a search."""
    return Tile(
        id=hit.id,
        caption=hit.caption,
        metadata=hit.metadata,
        uri=shown_uri(hit.id, hit.uri),
        width=hit.width,
        height=hit.height,
        thumbnail=thumbnail_url(collection, hit.id, hit.sha256, root),
        file=file_url(collection, hit.id, hit.sha256, root),
        rank=hit.rank,
        itc_rank=hit.itc_rank,
        itc=hit.itc,
        itm_logit=hit.itm_logit,
        probability=hit.match_probability,
        score=hit.score,
        similarity=hit.similarity,
        shown=shown,
        found_by=hit.found_by,
        matched_text=hit.matched_text,
        clauses=hit.clauses,
    )


def tiles_of(response: SearchResponse, query: PageQuery, collection: str, root: str) -> list[Tile]:
    """The first k of either order, in the order asked for; those of the other order only are hidden.

    The switch between the orders needs no second search: the k best by ITC are among the candidates, unless
    words brought others in the place of the last of them. What words alone brought stands last by ITC.
    """

    if query.counts:  # one page of all that match, in an order of its own
        hits = response.results
        if query.sort:
            hits = tuple(replace(hit, itc_rank=None) for hit in hits)
        return [tile_of_hit(hit, collection, root, shown=True) for hit in hits]

    def itc_rank(hit: SearchHit) -> int:
        return len(response.results) + hit.rank if hit.itc_rank is None else hit.itc_rank

    def rank(hit: SearchHit) -> int:
        return itc_rank(hit) if query.order == "itc" else hit.rank

    wanted = [hit for hit in response.results if min(hit.rank, itc_rank(hit)) <= query.k]
    wanted.sort(key=rank)
    return [tile_of_hit(hit, collection, root, rank(hit) <= query.k) for hit in wanted]
