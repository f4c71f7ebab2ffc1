"""A search: text → vector → candidates → order → words. Each step is one of the house's parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

from sightline.errors import InputError
from sightline.records import (
    MAX_CANDIDATES,
    Effort,
    IndexUse,
    InstructedMatcher,
    SearchHit,
    SearchRequest,
    SearchResponse,
    Timings,
    check_bounds,
)
from sightline.reranker.judging import checked_effort, checked_precision
from sightline.reranker.ordering import unscored
from sightline.reranker.records import Ranked
from sightline.reranker.reranker import Reranker
from sightline.searching.fusion import Fused, fuse
from sightline.searching.telling import SearchWatch, Telling, is_probable
from sightline.store.filters import parse_filter

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.reranker.records import Watch
    from sightline.retriever.records import Retrieved
    from sightline.retriever.retriever import Retriever
    from sightline.searching.cascades import Cascades, Knowledge
    from sightline.searching.instructing import Instructing, Judging
    from sightline.searching.patches import PatchCache
    from sightline.serving.models import Models
    from sightline.serving.scheduler import Scheduler
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.store.text_records import TextHit
    from sightline.types import Vector


class Search:
    """Answers text queries over the collections of one installation. Thread-safe."""

    def __init__(
        self,
        catalog: Catalog,
        models: Models,
        scheduler: Scheduler,
        retriever: Retriever,
        patches: PatchCache,
        instructing: Instructing,
        cascades: Cascades,
        exact: Retriever,
        asked: Callable[[Collection, Vector], None],
        most_bytes: int | None = None,
    ) -> None:
        """``exact``: a retriever that misses nothing, for who asks for that. ``asked`` is told of each query.

        ``most_bytes``: captions, metadata and texts that one answer repeats; None for any number.
        """
        self._catalog = catalog
        self._models = models
        self._scheduler = scheduler
        self._retriever = retriever
        self._patches = patches
        self._instructing = instructing
        self._cascades = cascades
        self._exact = exact
        self._asked = asked
        self._most_bytes = most_bytes

    def find(self, request: SearchRequest, watch: SearchWatch | None = None) -> SearchResponse:
        """Answer one text query; ``watch`` is told ITC's answer at once, and ITM's order as it comes.

        What ``watch`` raises ends the search. Raises:
            InputError: a request that contradicts itself, or whose answer would be too large.
            FilterError: a filter that cannot be understood.
            NotFoundError: no such collection.
            ModelUnavailableError, ModelMismatchError: the collection's model cannot be had.
            OverloadedError: too many requests wait already.
        """
        check(request)
        with self._scheduler.admit() as admitted:
            collection = self._catalog.collection(request.collection)
            model = admitted.share(self._models.encoder(collection), request.deadline_ms)
            judging = None
            if request.matcher is not None:
                judging = self._instructing.of(admitted, collection, request.matcher, request.text)
                admitted.until(request.deadline_ms)
            # The clock starts here: loading the model, once in a process, is nobody's query time.
            return self._answer(request, collection, model, judging, Stopwatch(), watch)

    def _answer(
        self,
        request: SearchRequest,
        collection: Collection,
        model: RetrievalModel,
        judging: Judging | None,
        clock: Stopwatch,
        watch: SearchWatch | None,
    ) -> SearchResponse:
        found, fused = self._retrieve(request, collection, model, clock)
        known = self._cascades.knowledge(request, collection, model, fused.head)
        told = None
        if watch is not None:
            telling = Telling(watch, request, fused, partial(self._describe, collection, request, fused))
            truncated = model.is_truncated(request.text)
            watch.candidates(_before_itm(telling, found, truncated, known.effort, clock))
            told = telling.order
        source = self._patches.of(collection, model)
        reranker = (
            Reranker(model, source, model) if judging is None else Reranker(judging.matcher, judging.source)
        )
        order = self._order(request, reranker, fused, clock, known, told)
        clock.lap("rerank")
        ranked = [one for one in order if is_probable(one, request.min_probability)]
        page = ranked[request.offset : request.offset + request.limit]
        return SearchResponse(
            results=tuple(self._describe(collection, request, fused, page)),
            truncated=model.is_truncated(request.text),
            timings=clock.timings(),
            generation=found.generation,
            images=found.images,
            scored=sum(one.itm_logit is not None for one in order),
            degraded=found.degraded + source.degraded(),
            effort=known.effort,
            reached=known.reached(order[: len(fused.head)]),
            approximate=found.approximate,
            recall=found.recall,
        )

    def _retrieve(
        self, request: SearchRequest, collection: Collection, model: RetrievalModel, clock: Stopwatch
    ) -> tuple[Retrieved, Fused]:
        condition = None if request.filter is None else parse_filter(request.filter)
        vector = model.encode_text([request.text])[0].float().cpu().numpy()
        self._asked(collection, vector)
        clock.lap("encode")
        wanted = max(request.candidates, request.offset + request.limit)
        said: list[TextHit] = []
        if request.rerank and request.texts:
            said = self._catalog.search_texts(collection.id, request.text, request.candidates, condition)
        keys = [hit.key for hit in said]
        retriever = self._exact if request.index == "exact" else self._retriever
        found = retriever.retrieve(request.collection, vector, wanted, condition, keys)
        clock.lap("retrieve")
        return found, fuse(found, said, request.candidates if request.rerank else 0)

    def _order(
        self,
        request: SearchRequest,
        reranker: Reranker,
        fused: Fused,
        clock: Stopwatch,
        known: Knowledge,
        told: Watch | None,
    ) -> list[Ranked]:
        """The judged candidates by score, then all others in ITC order."""
        head = fused.head
        rest = [unscored(one) for one in fused.rest]
        if not head:
            return rest
        left = None if request.deadline_ms is None else request.deadline_ms - clock.elapsed_ms()
        judged = reranker.rerank(
            request.text,
            head,
            len(head),
            request.score if request.matcher is None else "itm",
            left,
            request.precision,
            request.offset + request.limit,
            watch=told,
            effort=known.effort,
            cascade=known.cascade,
            record=known.record,
        )
        return judged + rest

    def _describe(
        self, collection: Collection, request: SearchRequest, fused: Fused, page: Sequence[Ranked]
    ) -> list[SearchHit]:
        """Hits as the catalog knows them, in the version that was found; what was purged is left out."""
        keys = [one.key for one in page]
        images = self._catalog.describe_found(collection.id, keys, self._most_bytes, fused.said)
        by_itm = request.matcher is None
        return [
            SearchHit(
                id=image.image_id, uri=image.uri, rank=request.offset + place, score=one.score, itc=one.itc,
                itc_rank=None if one.key in fused.unfound else one.itc_rank,
                itm_logit=one.itm_logit if by_itm else None,
                match_probability=one.match_probability if by_itm else None,
                instruction_probability=None if by_itm else one.match_probability,
                caption=image.caption, metadata=image.metadata, key=one.key, sha256=image.sha256,
                width=image.width or 0, height=image.height or 0,
                found_by=fused.found_by(one.key), matched_text=fused.said.get(one.key),
            )
            for place, one in enumerate(page, 1)
            if (image := images.get(one.key)) is not None
        ]  # fmt: skip


def check(request: SearchRequest) -> None:
    """Refuse what no collection could answer."""
    if not request.text.strip():
        raise InputError("The text is empty; say what the pictures should show.")
    check_bounds(request)
    if request.offset + request.limit > MAX_CANDIDATES:
        raise InputError(f"The sum offset + limit may be at most {MAX_CANDIDATES:,}.")
    checked_precision(request.precision)
    checked_effort(request.effort)
    if request.index not in get_args(IndexUse):
        raise InputError(f"The parameter index is one of {', '.join(get_args(IndexUse))}.")
    if request.matcher is not None:
        _check_matcher(request, request.matcher)
    if request.min_probability is not None and (not request.rerank or request.score == "itc"):
        raise InputError(
            "The parameter min_probability needs ITM scores: search with rerank and a score other than itc."
        )


def _check_matcher(request: SearchRequest, matcher: InstructedMatcher) -> None:
    if not request.rerank or request.score == "itc":
        raise InputError("A matcher puts candidates in order: search with rerank and a score other than itc.")
    if request.precision != "fast":
        raise InputError("A matcher computes in one precision only; leave out the parameter precision.")
    if matcher.instruction is not None and not matcher.instruction.strip():
        raise InputError("The instruction is empty; ask a question that yes or no answers, or leave it out.")


def _before_itm(
    telling: Telling, found: Retrieved, truncated: bool, effort: Effort, clock: Stopwatch
) -> SearchResponse:
    """What the answer is as long as ITM has scored nothing."""
    return SearchResponse(
        results=tuple(telling.by_itc()),
        truncated=truncated,
        timings=clock.timings(),
        generation=found.generation,
        images=found.images,
        scored=0,
        degraded=found.degraded,
        effort=effort,
        approximate=found.approximate,
        recall=found.recall,
    )


@dataclass
class Stopwatch:
    """Milliseconds of each step, by name."""

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was measured and count from now."""
        self._began = self._last = time.perf_counter()
        self._laps = {"encode": 0.0, "retrieve": 0.0, "rerank": 0.0}

    def lap(self, name: str) -> None:
        """The time since the last lap belongs to this step."""
        now = time.perf_counter()
        self._laps[name] = (now - self._last) * 1000
        self._last = now

    def elapsed_ms(self) -> float:
        """Since the start."""
        return (time.perf_counter() - self._began) * 1000

    def timings(self) -> Timings:
        """What was measured; the total reaches until now."""
        return Timings(self._laps["encode"], self._laps["retrieve"], self._laps["rerank"], self.elapsed_ms())
