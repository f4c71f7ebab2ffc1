"""What is asked beside the text, in chips: each a few words, and the address without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.api.page_query import PageQuery
from sightline.api.urls import thumbnail_url
from sightline.errors import FilterError
from sightline.store.filters import read_filter


@dataclass(frozen=True)
class Chip:
    """One part of the active filter, and the address without it."""

    label: str
    url: str
    image: str = ""
    """The address of a picture that stands before the words."""
    given: bool = False
    """Whether the browser alone has that picture."""


def chips_of(query: PageQuery, root: str, collection: str = "") -> list[Chip]:
    """The picture that others are to be like, the threshold, and the filter."""
    chips = []
    if query.like:
        image = thumbnail_url(collection, query.like, "", root).partition("?")[0] if collection else ""
        chips.append(Chip(f"like {query.like}", query.url(root, like="", cursor=None), image))
    if query.counts:
        without = query.url(root, minimum=None, sort="", cursor=None)
        chips.append(Chip(f"at least {round(100 * (query.minimum or 0))} %", without))
    return chips + _filter_chips(query, root)


def chip_of_given(query: PageQuery, root: str) -> Chip:
    """The picture that came with the request, of which no address tells."""
    return Chip("like your picture", query.url(root, cursor=None), given=True)


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
