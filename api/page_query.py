"""What the page is asked for: its address, read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args
from urllib.parse import quote, urlencode

from sightline.api.schemas.common import MAX_CURSOR
from sightline.api.settings import ApiSettings
from sightline.records import Effort
from sightline.store.values import MAX_ID_BYTES

SIZES = (12, 24, 48, 96)
CANDIDATES = (20, 50, 100, 200, 500, 1000)
Order = Literal["itm", "itc"]
SORTS = {
    "-created_at": "Newest first",
    "created_at": "Oldest first",
    "-metadata.taken_at": "Taken last",
    "metadata.taken_at": "Taken first",
}
"""Orders by date, in words."""
SORT_THRESHOLD = 0.5
"""What an order by date begins with: it goes with all pictures that match, and something says which do."""
EFFORTS = {"": "as learned", "full": "full", "auto": "auto", "quick": "quick"}
"""Values of the parameter ``effort``, in words."""


@dataclass(frozen=True)
class PageQuery:
    """The address of the page. What makes no sense in it becomes the default: a person may have typed it."""

    text: str = ""
    like: str = ""
    """The id of an image of the collection: others like it are looked for."""
    minimum: float | None = None
    """All pictures with at least this match probability are wanted."""
    sort: str = ""
    """One of `SORTS`, of those; empty: the best match first."""
    saved: str = ""
    """The name of a saved search: its members are looked at."""
    collection: str | None = None
    k: int = 24
    candidates: int = 100
    order: Order = "itm"
    effort: Effort | Literal[""] = ""
    filter: str = ""
    cursor: str | None = None

    @property
    def asks(self) -> bool:
        """Whether its address says what is searched for."""
        return bool(self.text or self.like)

    @property
    def counts(self) -> bool:
        """Whether all pictures that match are asked for, with their number."""
        return bool(self.text) and self.minimum is not None

    def url(self, root: str = "", **changes: Any) -> str:
        """This query's address, with changes."""
        query = replace(self, **changes)
        plain = PageQuery()
        names = {"text": "q", "like": "like", "collection": "collection", "filter": "filter",
                 "minimum": "min", "sort": "sort", "saved": "saved", "order": "order", "effort": "effort",
                 "cursor": "cursor", "k": "k", "candidates": "candidates"}  # fmt: skip
        values = {
            name: getattr(query, attribute)
            for attribute, name in names.items()
            if getattr(query, attribute) != getattr(plain, attribute)
        }
        return f"{root}/?{urlencode(values, quote_via=quote)}" if values else f"{root}/"


def read_query(params: Mapping[str, str], settings: ApiSettings) -> PageQuery:
    """From query parameters."""
    sort = params.get("sort", "") if params.get("sort", "") in SORTS else ""
    return PageQuery(
        minimum=_minimum(params.get("min", ""), SORT_THRESHOLD if sort else None),
        sort=sort,
        saved=params.get("saved", "")[:63],
        text=" ".join(params.get("q", "").split())[:2000],
        like=params.get("like", "")[:MAX_ID_BYTES],
        collection=params.get("collection", "")[:MAX_ID_BYTES] or None,
        k=_number(params.get("k"), 24, 200),
        candidates=_number(params.get("candidates"), 100, settings.max_candidates),
        order="itc" if params.get("order") == "itc" else "itm",
        effort=_effort(params.get("effort")),
        filter=params.get("filter", "").strip()[:20_000],
        cursor=params.get("cursor", "")[:MAX_CURSOR] or None,
    )


def _minimum(text: str, default: float | None) -> float | None:
    """A probability in hundredths; 0 asks for nothing."""
    if not re.fullmatch(r"[01]|[01]?\.[0-9]{1,6}|[01]\.", text) or float(text) > 1:
        return default
    return round(float(text), 2) or default


def _effort(text: str | None) -> Effort | Literal[""]:
    return next((one for one in get_args(Effort) if one == text), "")


def _number(text: str | None, default: int, most: int) -> int:
    if text is None or not text.isdecimal() or len(text) > 6:
        return min(default, most)
    return min(max(int(text), 1), most)
