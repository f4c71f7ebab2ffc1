"""What a search asks and answers: plain values between the edges (HTTP, command line) and the use cases.

``search(SearchRequest) -> SearchResponse`` and ``rerank_documents(RerankRequest) -> RerankResponse`` are what
the edges call; they translate these records and nothing else. The fields of a ``SearchRequest`` say which
numbers they take and what they are for: HTTP makes its body, its checks and its documentation of them.

Nothing here may import NumPy or more: the command line reads these names for its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Gt, Le

from sightline.errors import InputError, SightlineError
from sightline.explanations import Explanation
from sightline.queries import ClauseMatch, Query
from sightline.rerank_records import RerankDocument

ScoreName = Literal["itm+itc", "itm", "itc"]
"""What orders reranked candidates: match logit + ITC cosine (as LAVIS), the logit alone, the cosine alone."""

FoundBy = Literal["picture", "text", "both"]
"""What brought an image into an answer: its picture (ITC), words of its texts, or both."""

Precision = Literal["fast", "exact"]
"""``fast``: scores in the precision that the model was loaded to match in. ``exact``: float32."""

Effort = Literal["full", "auto", "quick"]
"""``full``: ITM scores every candidate. ``auto``: as few as keep at least 0.98 of the best hits, by what was
learned on the collection; ``quick``: fewer still. Where nothing was learned, every search is ``full``."""

TotalIs = Literal["exact", "at_least"]
"""``exact``: all images that pass the filter were judged; ``at_least``: some were not."""

IndexUse = Literal["auto", "exact"]
"""``auto``: the collection's index names the candidates. ``exact``: none is missed; where the index is
approximate, every image is compared in its place."""

MAX_CANDIDATES = 10_000
"""No request looks at more candidates, nor reads past this rank (``offset + limit``)."""


@dataclass(frozen=True)
class Doc:
    """One sentence on a field, for whoever fills it in."""

    text: str


@dataclass(frozen=True)
class InstructedMatcher:
    """A model that answers yes or no puts candidates in order, instead of the collection's own ITM.

    ``instruction``: a question that yes or no answers; None: whether the image shows the search's text.
    ``model`` None: the one that answers questions about the collection.
    """

    instruction: str | None = None
    model: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class SearchRequest:
    """One query against one collection: a ``text`` or a ``query``, a picture, or a picture and one of these.

    A ``text`` is one sentence and is never parsed (``sightline.typed_queries`` reads what people type).
    ``image``: what the pictures should be like. Alone it is compared with every image, and nothing is judged
    by ITM; beside words a hit's score is its similarity times its match probability. A stored image, of any
    collection of the same model, is no answer to itself.
    ``offset + limit`` may exceed ``candidates``: the rest follow in ITC order with ``itm_logit=None``.
    ``filter`` is the raw JSON object (sightline.store.filters.parse_filter gives it meaning, or FilterError).
    ``min_probability`` needs ``rerank`` (InputError otherwise), applies before ``offset``, and then only
    candidates that ITM scored can be hits. ``deadline_ms`` counts from the start of the search.
    """

    collection: str
    text: Annotated[str, Doc("What the pictures should show.")] = ""
    limit: Annotated[int, Ge(1), Doc("How many hits.")] = 10
    offset: Annotated[int, Ge(0), Le(MAX_CANDIDATES), Doc("Hits to pass over.")] = 0
    candidates: Annotated[int, Ge(1), Le(MAX_CANDIDATES), Doc("How many candidates ITM scores.")] = 100
    rerank: Annotated[bool, Doc("Whether ITM scores the candidates; else they stay in ITC order.")] = True
    score: Annotated[ScoreName, Doc("What orders the candidates that ITM scored.")] = "itm+itc"
    filter: Annotated[
        Mapping[str, Any] | None, Doc("must / should / must_not of conditions: see docs/http.md.")
    ] = None
    min_probability: Annotated[float | None, Ge(0), Le(1), Doc("Needs rerank; applies before offset.")] = None
    precision: Annotated[
        Precision, Doc("exact: the best 2 · (offset + limit) are scored again in float32.")
    ] = "fast"
    deadline_ms: Annotated[
        float | None, Gt(0), Doc("What ITM could not score by then keeps its ITC order below the rest.")
    ] = None
    effort: Annotated[
        Effort | None,
        Doc("full: ITM scores all candidates; auto, quick: fewer. Default: auto once its report passed."),
    ] = None
    matcher: Annotated[
        InstructedMatcher | None, Doc("A model that answers yes or no, to order the candidates by.")
    ] = None
    texts: Annotated[
        bool, Doc("Whether words of captions bring candidates, too; without rerank they never do.")
    ] = True
    index: Annotated[
        IndexUse, Doc("exact: compare every image where the index is approximate, which takes long.")
    ] = "auto"
    collapse: Annotated[
        bool, Doc("One hit for each group of near duplicates; limit and offset count groups.")
    ] = False
    image: Annotated[RerankDocument | None, Doc("A picture to find others like it; text may go with it.")] = (
        None
    )
    explain: Annotated[
        bool, Doc("Why each hit is one: what each word contributed, and where; needs rerank and limit ≤ 20.")
    ] = False
    sort: Annotated[
        str | None, Doc("With min_probability: all hits, by relevance, [-]created_at or [-]metadata.FIELD.")
    ] = None
    exact: Annotated[bool, Doc("With min_probability: ITM judges all images, and the total is exact.")] = (
        False
    )
    cursor: Annotated[str | None, Doc("With min_probability: where the page before ended.")] = None
    query: Annotated[
        Query | None, Doc("What pictures should show and what not, in clauses; in place of text.")
    ] = None

    @property
    def texts_asked(self) -> tuple[str, ...]:
        """Every text that pictures are compared with."""
        return (self.text,) if self.query is None else self.query.texts


def parameters(record: type) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """The type of each field of a record, and what its annotation says besides: bounds, a Doc."""
    plain, whole = get_type_hints(record), get_type_hints(record, include_extras=True)
    return {name: (plain[name], getattr(hint, "__metadata__", ())) for name, hint in whole.items()}


def check_bounds(request: SearchRequest) -> None:
    """Raises InputError for a number outside of the bounds that its field declares, NaN included, or none."""
    for name, kind, bound in _bounds():
        value: Any = getattr(request, name)
        if value is None and kind is not int:
            continue
        if not _is_number(value, Integral if kind is int else Real):
            what = "whole number" if kind is int else "number"
            raise InputError(f"The parameter {name} must be a {what}, not {value!r}.")
        if isinstance(bound, Ge) and not value >= bound.ge:
            raise InputError(f"The parameter {name} must be at least {bound.ge}.")
        if isinstance(bound, Gt) and not value > bound.gt:
            raise InputError(f"The parameter {name} must be more than {bound.gt}.")
        if isinstance(bound, Le) and not value <= bound.le:
            raise InputError(f"The parameter {name} may be at most {bound.le:,}.")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind)


@cache
def _bounds() -> list[tuple[str, Any, Any]]:
    """Every bound of a search request with the name and the kind of its field."""
    told = parameters(SearchRequest).items()
    return [(name, kind, one) for name, (kind, said) in told for one in said if isinstance(one, Ge | Gt | Le)]


@dataclass(frozen=True)
class SearchHit:
    """One image of the answer. Ranks count from 1: ``rank`` in this answer's order, ``itc_rank`` in ITC's
    (None: words alone brought it; ``itc`` is its score all the same).

    ``itm_logit`` and ``match_probability`` are None where ITM did not score (no rerank, or beyond
    ``candidates``). With a ``matcher`` they are None, ``score`` is the log-odds of yes against no, and
    ``instruction_probability`` that of yes. ``width`` and ``height`` are pixels of the upright picture.
    ``matched_text``: the text whose words brought it (None where none did). ``match_probability`` is
    calibrated (docs/scoring.md), ``match_probability_raw`` the softmax itself. ``explanation``: where it was
    asked for; None where ITM did not score, or the time was up. ``duplicates``: ids of candidates that are
    the same picture, which it stands for (None without ``collapse``).

    Of a ``query``: ``score`` is the log-odds of ``match_probability``, by which the order goes; ``itc`` the
    compound ITC score (docs/scoring.md), ``itm_logit`` that of the first clause, and ``clauses`` how likely
    the picture shows each (empty where ITM did not score, and of a ``text``).

    ``similarity``: to the query picture (None without one), the mean over its tokens of the best token of the
    image, within fp16's rounding of [-1, 1]. With a picture alone ``itc`` and ``score`` are the same number;
    with words ``itc`` is theirs, and ``itc_rank`` the place before ITM, by both.
    """

    id: str
    uri: str
    rank: int
    score: float
    itc: float
    itc_rank: int | None
    itm_logit: float | None
    match_probability: float | None
    caption: str | None
    metadata: Mapping[str, Any]
    key: int
    sha256: str
    width: int
    height: int
    found_by: FoundBy = "picture"
    matched_text: str | None = None
    instruction_probability: float | None = None
    match_probability_raw: float | None = None
    explanation: Explanation | None = None
    clauses: tuple[ClauseMatch, ...] = ()
    similarity: float | None = None
    duplicates: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Timings:
    """Milliseconds of wall clock for the three steps, and for the whole call."""

    encode_ms: float
    retrieve_ms: float
    rerank_ms: float
    total_ms: float


@dataclass(frozen=True)
class Reached:
    """``candidates`` of a search went through the first ``layers`` of ITM's ``of`` layers, and no further."""

    layers: int
    of: int
    candidates: int


@dataclass(frozen=True)
class SearchResponse:
    """``truncated``: the text was cut at the model's limit. ``generation``: number of the index generation
    that answered (0: none yet). ``images``: how many live images could have been found (after the filter).
    ``scored``: how many candidates ITM scored. ``degraded``: what the answer had to do without because files
    are lost or damaged, one sentence each; empty: it is the whole answer. ``effort``: what was done, which is
    ``full`` where nothing was learned. ``reached``: how far candidates went through ITM's layers, the fewest
    first; those with all layers are the scored ones. ``approximate``: the index may have missed images; it
    finds the part ``recall`` of the best 100, as measured when it was built (None: nothing is missed, or
    nobody measured it, as with pictures). The scores of what it found are exact. ``total``: how many hits
    there are on all pages, where they were counted; ``next_cursor``: None on the last page.
    ``unknown_words``: those of the question that the model does not know, as they were written; when it knows
    none, nothing is ranked. ``notes``: what is to be said of the answer and of the model, one sentence
    each."""

    results: tuple[SearchHit, ...]
    truncated: bool
    timings: Timings
    generation: int
    images: int
    scored: int
    degraded: tuple[str, ...] = ()
    effort: Effort = "full"
    reached: tuple[Reached, ...] = ()
    approximate: bool = False
    recall: float | None = None
    total: int | None = None
    total_is: TotalIs | None = None
    next_cursor: str | None = None
    unknown_words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """Of one search among many: its answer, or why there is none."""

    response: SearchResponse | None = None
    error: SightlineError | None = None

    def answered(self) -> SearchResponse:
        """The answer; raises the error where there is none."""
        if self.response is None:
            raise self.error or AssertionError("an outcome is an answer or an error")
        return self.response
