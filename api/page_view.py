"""What the page shows, as plain values: tiles, chips and one of a few intended states."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sightline.api.discretion import shown_uri
from sightline.api.page_query import PageQuery
from sightline.api.urls import file_url, thumbnail_url
from sightline.errors import FilterError
from sightline.records import FoundBy, SearchHit, SearchResponse
from sightline.store.filters import read_filter
from sightline.store.records import Collection, Image

State = Literal["home", "results", "low", "unknown", "none", "bare", "void", "error"]


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
        if self.rank is None:
            return name
        if self.probability is None:
            how = "not judged" if self.similarity is None else f"similarity {self.similarity:.2f}"
            return f"Rank {self.rank}, {how}: {name}"
        how = "found by its words" if self.moved is None else moved_words(self.moved)
        return f"Rank {self.rank}, match {percent(self.probability)}, {how}: {name}"

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
        return json.dumps(values | {"metadata": dict(self.metadata)}, ensure_ascii=False, default=str)


def percent(probability: float) -> str:
    """A probability for people, that never rounds a doubt away."""
    value = probability * 100
    if value > 99.5:
        return "> 99 %" if value < 99.95 else "100 %"
    if value < 0.95:
        return "< 1 %"
    return f"{value:.0f} %"


def duration(milliseconds: float) -> str:
    """Milliseconds below a second, else seconds."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def moved_words(moved: int) -> str:
    """The arrow in words."""
    if moved == 0:
        return "not moved"
    return f"{'raised' if moved > 0 else 'lowered'} {abs(moved)}"


@dataclass(frozen=True)
class Chip:
    """One part of the active filter, and the address without it."""

    label: str
    url: str


@dataclass(frozen=True)
class View:
    """All that the templates need."""

    state: State
    query: PageQuery
    collection: Collection | None = None
    collections: Sequence[tuple[str, int]] = ()
    tiles: Sequence[Tile] = ()
    response: SearchResponse | None = None
    chips: Sequence[Chip] = ()
    examples: Sequence[str] = ()
    next_url: str | None = None
    best: float | None = None
    title: str = ""
    detail: str = ""
    filter_error: str | None = None
    total: int = 0
    pending: int = 0
    note: str | None = None
    """What is to be said of the collection's model."""
    offered: Sequence[tuple[str, str]] = ()
    """Models that a first collection can have at once, as they are asked for and as they are shown; ``""`` is
    the one that is set.
    """
    wanted_name: str = "pictures"
    """What a first collection is to be called."""
    ordering: int = 0
    """How many candidates ITM is about to put in order; the tiles are in ITC's until then."""


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
    )


def tiles_of(response: SearchResponse, query: PageQuery, collection: str, root: str) -> list[Tile]:
    """The first k of either order, in the order asked for; those of the other order only are hidden.

    The switch between the orders needs no second search: the k best by ITC are among the candidates, unless
    words brought others in the place of the last of them. What words alone brought stands last by ITC.
    """

    def itc_rank(hit: SearchHit) -> int:
        return len(response.results) + hit.rank if hit.itc_rank is None else hit.itc_rank

    def rank(hit: SearchHit) -> int:
        return itc_rank(hit) if query.order == "itc" else hit.rank

    wanted = [hit for hit in response.results if min(hit.rank, itc_rank(hit)) <= query.k]
    wanted.sort(key=rank)
    return [tile_of_hit(hit, collection, root, rank(hit) <= query.k) for hit in wanted]


def chips_of(query: PageQuery, root: str) -> list[Chip]:
    """What is asked beside the text: the picture that others are to be like, and the filter."""
    like = [Chip(f"like {query.like}", query.url(root, like="", cursor=None))] if query.like else []
    return like + _filter_chips(query, root)


def _filter_chips(query: PageQuery, root: str) -> list[Chip]:
    """The filter in words: one chip for each plain equality, or one for all that is more than that."""
    if not query.filter:
        return []
    try:
        wanted = read_filter(query.filter)
        conditions = wanted["must"]
        if set(wanted) != {"must"}:
            raise ValueError
        labels = [_label(item) for item in conditions]
    except (FilterError, ValueError, TypeError, KeyError):
        return [Chip("custom filter", query.url(root, filter="", cursor=None))]
    chips = []
    for index, label in enumerate(labels):
        rest = conditions[:index] + conditions[index + 1 :]
        text = json.dumps({"must": rest}, ensure_ascii=False) if rest else ""
        chips.append(Chip(label, query.url(root, filter=text, cursor=None)))
    return chips


def _label(condition: Mapping[str, Any]) -> str:
    """A plain condition in words; ValueError or KeyError for others."""
    names = set(condition)
    if (
        names == {"field", "range"}
        and condition["field"] == "created_at"
        and set(condition["range"]) == {"gte"}
    ):
        return "just added"
    if names != {"field", "equals"}:
        raise ValueError
    return f"{str(condition['field']).removeprefix('metadata.')} = {condition['equals']}"
