"""What a search asks and answers: plain values between the edges (HTTP, command line) and the roof.

The roof implements ``search(SearchRequest) -> SearchResponse`` and
``rerank_documents(RerankRequest) -> RerankResponse``; the edges translate these records and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sightline.types import RGB

ScoreName = Literal["itm+itc", "itm", "itc"]
"""What orders reranked candidates: match logit + ITC cosine (as LAVIS), the logit alone, the cosine alone."""

Precision = Literal["fast", "exact"]
"""``fast``: scores in the precision that the model was loaded to match in. ``exact``: float32."""

MAX_CANDIDATES = 10_000
"""No request looks at more candidates, nor reads past this rank (``offset + limit``)."""


@dataclass(frozen=True)
class SearchRequest:
    """One text query against one collection.

    ``offset + limit`` may exceed ``candidates``: the rest follow in ITC order with ``itm_logit=None``.
    ``filter`` is the raw JSON object (sightline.store.filters.parse_filter gives it meaning, or FilterError).
    ``min_probability`` needs ``rerank`` (InputError otherwise), applies before ``offset``, and then only
    candidates that ITM scored can be hits. ``precision``: ``exact`` judges the best 2 · (offset + limit)
    again in float32. ``deadline_ms`` counts from the start of the search: candidates that ITM could not judge
    in time keep their ITC order below the rest.
    """

    collection: str
    text: str
    limit: int = 10
    offset: int = 0
    candidates: int = 100
    rerank: bool = True
    score: ScoreName = "itm+itc"
    filter: Mapping[str, Any] | None = None
    min_probability: float | None = None
    precision: Precision = "fast"
    deadline_ms: float | None = None


@dataclass(frozen=True)
class SearchHit:
    """One image of the answer. Ranks count from 1: ``rank`` in this answer's order, ``itc_rank`` in ITC's.

    ``itm_logit`` and ``match_probability`` are None where ITM did not score (no rerank, or beyond
    ``candidates``). ``width`` and ``height`` are pixels of the upright picture.
    """

    id: str
    uri: str
    rank: int
    score: float
    itc: float
    itc_rank: int
    itm_logit: float | None
    match_probability: float | None
    caption: str | None
    metadata: Mapping[str, Any]
    key: int
    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Timings:
    """Milliseconds of wall clock for the three steps, and for the whole call."""

    encode_ms: float
    retrieve_ms: float
    rerank_ms: float
    total_ms: float


@dataclass(frozen=True)
class SearchResponse:
    """``truncated``: the text was cut at the model's limit. ``generation``: number of the index generation
    that answered (0: none yet). ``images``: how many live images could have been found (after the filter).
    ``scored``: how many candidates ITM scored."""

    results: tuple[SearchHit, ...]
    truncated: bool
    timings: Timings
    generation: int
    images: int
    scored: int


@dataclass(frozen=True)
class InlineImage:
    """A picture that came with the request, already decoded: ``rgb`` is [H,W,3] uint8, upright."""

    rgb: RGB


@dataclass(frozen=True)
class StoredImage:
    """A picture of a collection, by its image id (NotFoundError when there is none)."""

    collection: str
    id: str


RerankDocument = InlineImage | StoredImage


@dataclass(frozen=True)
class RerankRequest:
    """Score every document against ``query`` by ITM. ``model`` None: the default of the installation; a name
    that is not served raises InputError. Stored images must belong to collections of one model
    (ConflictError otherwise)."""

    query: str
    documents: tuple[RerankDocument, ...]
    top_n: int | None = None
    model: str | None = None


@dataclass(frozen=True)
class RerankResult:
    """``index`` points into the request's documents."""

    index: int
    match_probability: float
    itm_logit: float


@dataclass(frozen=True)
class RerankResponse:
    """Results by falling match probability (ties: by index), at most ``top_n``; ``model`` scored them."""

    model: str
    results: tuple[RerankResult, ...] = ()
    truncated: bool = False
