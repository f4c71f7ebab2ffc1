"""Pictures that come with a request or are stored, and what a reranking of them asks and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from sightline.types import RGB


@dataclass(frozen=True)
class InlineImage:
    """A picture that came with the request, already decoded: ``rgb`` is [H,W,3] uint8, upright."""

    rgb: RGB


@dataclass(frozen=True)
class PendingImage:
    """A picture that came with the request and is decoded once that is let in.

    ``decode`` gives [H,W,3] uint8, upright; what it raises ends the request. ``content`` is the same for the
    same picture, a hash of its bytes; where none is given no two pictures are taken for the same.
    """

    decode: Callable[[], RGB] = field(compare=False)
    content: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True)
class StoredImage:
    """A picture of a collection, by its image id (NotFoundError when there is none)."""

    collection: str
    id: str


RerankDocument = InlineImage | PendingImage | StoredImage


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
    match_probability_raw: float


@dataclass(frozen=True)
class RerankResponse:
    """Results by falling match probability (ties: by index), at most ``top_n``; ``model`` scored them.

    ``degraded``, ``unknown_words``, ``notes``: as of a search; no results where the model knows no word.
    """

    model: str
    results: tuple[RerankResult, ...] = ()
    truncated: bool = False
    degraded: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreRequest:
    """Score pairs by ITM: one text with each document, each text with one document, or as many of both, pair
    by pair. ``model``: as of a `RerankRequest`."""

    texts: tuple[str, ...]
    documents: tuple[RerankDocument, ...]
    model: str | None = None


@dataclass(frozen=True)
class ScoreResponse:
    """One result for each pair, in their order, ``index`` its position; the rest as of a `RerankResponse`."""

    model: str
    results: tuple[RerankResult, ...]
    truncated: bool = False
    degraded: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
