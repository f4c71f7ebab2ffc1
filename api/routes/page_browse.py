"""The page where nothing is searched for: a collection itself, and the members of a saved search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sightline.api.discretion import refuse_hidden_fields
from sightline.api.page_tiles import tile_of_image
from sightline.api.page_view import State, View
from sightline.api.parts import ApiParts
from sightline.store.filters import parse_filter, read_filter
from sightline.store.records import Image

IMAGES_AT_ONCE = 60
EXAMPLE_LENGTH = 44


def browsed(parts: ApiParts, base: View, root: str, most_bytes: int) -> View:
    """The collection itself, page by page; one ends early with ``most_bytes`` of metadata."""
    assert base.collection is not None
    name = base.collection.name
    condition = read_filter(base.query.filter) if base.query.filter else None
    refuse_hidden_fields(condition)
    wanted = None if condition is None else parse_filter(condition)
    page = parts.catalog.images(name, base.query.cursor, IMAGES_AT_ONCE, wanted, most_bytes=most_bytes)
    counts = parts.catalog.collection_counts(name)
    tiles = [tile_of_image(image, name, root) for image in page.items]
    more = base.query.url(root, cursor=page.next_cursor) if page.next_cursor else None
    state: State = "home"
    title = ""
    if not tiles and base.query.filter:
        state, title = "none", "No picture passes this filter"
    elif not tiles:
        state = "bare"
    examples = _examples(page.items)
    return replace(
        base, state=state, title=title, tiles=tiles, next_url=more, examples=examples,
        total=counts["live"], pending=counts["pending"],
    )  # fmt: skip


def _examples(images: Sequence[Image]) -> list[str]:
    """A few captions as things to try, spread over the page."""
    first = (image.caption.partition("\n")[0] for image in images if image.caption)
    captions = [caption.rstrip(".") for caption in first if len(caption) <= EXAMPLE_LENGTH]
    step = max(len(captions) // 4, 1)
    return list(dict.fromkeys(captions[step // 2 :: step]))[:4]


def members(parts: ApiParts, base: View, root: str, most_bytes: int) -> View:
    """Who fits a saved search, in the order of joining, page by page. NotFoundError: there is none."""
    collection, query = base.collection, base.query
    assert collection is not None
    saved = parts.saved_searches.one(collection.name, query.saved)
    page = parts.saved_searches.members(collection.name, query.saved, query.cursor, IMAGES_AT_ONCE)
    images = parts.catalog.describe_found(collection.id, [one.key for one in page.items], most_bytes)
    tiles = [
        replace(
            tile_of_image(images[one.key], collection.name, root),
            probability=one.probability,
            joined=one.joined_at,
        )
        for one in page.items
        if one.key in images
    ]
    more = query.url(root, cursor=page.next_cursor) if page.next_cursor else None
    return replace(
        base, state="saved", tiles=tiles, next_url=more, saved=saved, title=saved.name,
        total=saved.members, pending=saved.pending,
    )  # fmt: skip
