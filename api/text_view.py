"""What the page of texts shows, as plain values: which texts, beside which images, and where else to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from sightline.api.page_query import PageQuery
from sightline.api.schemas.common import MAX_CURSOR
from sightline.api.urls import file_url, thumbnail_url
from sightline.store.records import Image
from sightline.store.text_records import StoredText, TextCount, TextPage
from sightline.store.values import MAX_ID_BYTES

VERDICTS = {"": "All", "kept": "Kept", "dropped": "Dropped", "unjudged": "Not judged"}


@dataclass(frozen=True)
class TextQuery:
    """The address of the page. What makes no sense in it becomes the default: a person may have typed it."""

    collection: str = ""
    verdict: str = ""
    source: str = ""
    contains: str = ""
    cursor: str = ""

    def url(self, root: str, **changes: Any) -> str:
        """This query's address, with changes."""
        query = replace(self, **changes)
        values = {name: value for name, value in vars(query).items() if value}
        return f"{root}/texts?{urlencode(values, quote_via=quote)}"


def read_text_query(params: Mapping[str, str]) -> TextQuery:
    """From query parameters."""
    verdict = params.get("verdict", "")
    return TextQuery(
        collection=params.get("collection", "")[:MAX_ID_BYTES],
        verdict=verdict if verdict in VERDICTS else "",
        source=params.get("source", "").replace("\0", "")[:200],
        contains=params.get("contains", "").replace("\0", "").strip()[:200],
        cursor=params.get("cursor", "")[:MAX_CURSOR],
    )


@dataclass(frozen=True)
class Choice:
    """A verdict that the page can be narrowed to."""

    label: str
    url: str
    texts: int
    current: bool


@dataclass(frozen=True)
class About:
    """One image and the texts about it that the page shows."""

    id: str
    thumbnail: str
    file: str
    texts: Sequence[StoredText]


@dataclass(frozen=True)
class TextView:
    """All that the template needs.

    ``found``: how many texts there are of this verdict, source and word, on all pages together. ``any``:
    whether the collection has texts at all.
    """

    query: TextQuery
    collection: str
    home: str
    here: str
    choices: Sequence[Choice] = ()
    sources: Sequence[str] = ()
    images: Sequence[About] = ()
    next_url: str | None = None
    found: int = 0
    any: bool = False
    title: str = ""
    problem: str = ""


def text_view(
    query: TextQuery, page: TextPage, images: Mapping[int, Image], counts: Sequence[TextCount], root: str
) -> TextView:
    """The page of one collection; ``images`` by key."""
    return TextView(
        query=query,
        collection=query.collection,
        home=PageQuery(collection=query.collection).url(root),
        here=query.url(root),
        choices=_choices(query, counts, root),
        sources=sorted({one.source for one in counts}),
        images=_about(page.items, images, query.collection, root),
        next_url=query.url(root, cursor=page.next_cursor) if page.next_cursor else None,
        found=page.total,
        any=any(one.texts for one in counts),
    )


def broken_view(query: TextQuery, title: str, problem: str, root: str) -> TextView:
    """What is shown in place of texts."""
    home = PageQuery(collection=query.collection or None).url(root)
    return TextView(query, query.collection, home, query.url(root), title=title, problem=problem)


def _choices(query: TextQuery, counts: Sequence[TextCount], root: str) -> list[Choice]:
    totals = {name: sum(one.texts for one in counts if name in ("", one.verdict)) for name in VERDICTS}
    return [
        Choice(label, query.url(root, verdict=name, cursor=""), totals[name], name == query.verdict)
        for name, label in VERDICTS.items()
    ]


def _about(
    texts: Sequence[StoredText], images: Mapping[int, Image], collection: str, root: str
) -> list[About]:
    """Texts of one image stand together; of images that went meanwhile there are none."""
    grouped: dict[int, list[StoredText]] = {}
    for text in texts:
        grouped.setdefault(text.key, []).append(text)
    return [
        About(
            image.image_id,
            thumbnail_url(collection, image.image_id, image.sha256, root),
            file_url(collection, image.image_id, image.sha256, root),
            of_image,
        )
        for key, of_image in grouped.items()
        if (image := images.get(key)) is not None
    ]
