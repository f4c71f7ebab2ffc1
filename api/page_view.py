"""What the page shows, as plain values: one of a few intended states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.api.page_chips import Chip
from sightline.api.page_query import PageQuery
from sightline.api.page_tiles import Tile
from sightline.queries import Role
from sightline.records import SearchResponse
from sightline.store.records import Collection
from sightline.store.saved_records import SavedSearch

State = Literal["home", "results", "low", "unknown", "none", "bare", "void", "saved", "error"]


def duration(milliseconds: float) -> str:
    """Milliseconds below a second, else seconds."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


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
    texts: Sequence[str] = ()
    """What can be explained of what was searched for: the text, or each clause that says what is wanted."""
    clauses: Sequence[tuple[Role, str]] = ()
    """What the signs in the text were read as."""
    typing: bool = False
    """Whether the text is still being typed: the tiles are the most similar ones, and ITM has seen none."""
    saved: SavedSearch | None = None
    """Whose members are looked at."""
    dates: Sequence[str] = ()
    """Orders by date that the pictures can be put in: names of ``SORTS``."""
    keeps: str = ""
    """The text that a saved search would have; empty where this search cannot be saved."""
    ordering: int = 0
    """How many candidates ITM is about to put in order; the tiles are in ITC's until then."""
