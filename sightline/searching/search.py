"""A search: question → candidates → order → words. Each step is one of the house's parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sightline.records import MAX_CANDIDATES, Effort, Outcome, SearchHit, SearchRequest, SearchResponse
from sightline.rerank_records import StoredImage
from sightline.reranker.ordering import unscored
from sightline.searching.checks import check
from sightline.searching.collapsing import NOTHING_FOLDED, Folding
from sightline.searching.compound_question import matches
from sightline.searching.count_checks import as_counted, is_counted
from sightline.searching.counted_search import CountedSearch
from sightline.searching.explaining import ExplainedImage, explain_image, explained
from sightline.searching.given_pictures import decoded, live_key
from sightline.searching.many import answer_each
from sightline.searching.stopwatch import Stopwatch
from sightline.searching.telling import SearchWatch, Telling, is_probable
from sightline.searching.understanding import question_of

if TYPE_CHECKING:
    from sightline.reranker.records import Ranked
    from sightline.retriever.records import Retrieved
    from sightline.retriever.together import Together
    from sightline.searching.fusion import Fused
    from sightline.searching.questions import Found, Question
    from sightline.searching.search_parts import SearchParts
    from sightline.serving.scheduler import Admission
    from sightline.store.records import Collection


class Search:
    """Answers queries over the collections of one installation. Thread-safe."""

    def __init__(self, parts: SearchParts) -> None:
        self._parts = parts

    def find(self, request: SearchRequest, watch: SearchWatch | None = None) -> SearchResponse:
        """Answer one query; ``watch`` is told ITC's answer at once, and ITM's order as it comes.

        What ``watch`` raises ends the search. Raises:
            InputError: a request that contradicts itself, or whose answer would be too large.
            FilterError: a filter that cannot be understood.
            NotFoundError: no such collection, or stored query picture.
            ImageRejected: the query picture cannot be decoded.
            ConflictError: a stored query picture was indexed with another model.
            UnavailableError: a stored query picture is not indexed yet, or its tokens cannot be read.
            ModelUnavailableError, ModelMismatchError: the collection's model cannot be had.
            OverloadedError: too many requests wait already.
        """
        check(request)
        with self._parts.scheduler.admit() as admitted:
            return self._found(admitted, request, watch)

    def find_many(self, requests: Sequence[SearchRequest]) -> list[SearchResponse]:
        """As `find` for each, in order; the first that fails ends it. Raises as `find`.

        Texts are encoded together, and a token index is asked for all at once. ITM takes one search after
        the other, each with its own ``deadline_ms``.
        """
        return [one.answered() for one in self.try_many(requests)]

    def try_many(self, requests: Sequence[SearchRequest]) -> Iterator[Outcome]:
        """As `find_many`, one after the other as they are answered, with what went wrong in its place.

        All of them have one place in the queue for the model. Raises:
            OverloadedError: too many requests wait already.
            StoppingError, AbandonedError: nobody goes on, or waits.
        """
        with self._parts.scheduler.admit() as admitted:
            yield from answer_each(self._parts, admitted, requests, self._found)

    def _found(
        self,
        admitted: Admission,
        request: SearchRequest,
        watch: SearchWatch | None = None,
        together: Together | None = None,
    ) -> SearchResponse:
        collection = self._parts.catalog.collection(request.collection)
        if is_counted(request):
            return self._count(admitted, request, collection, watch)
        question = question_of(self._parts, admitted, request, collection, together)
        # The clock starts here: loading the model, once in a process, is nobody's query time.
        return self._answer(request, collection, question, Stopwatch(), watch)

    def _count(
        self, admitted: Admission, request: SearchRequest, collection: Collection, watch: SearchWatch | None
    ) -> SearchResponse:
        image = None if request.image is None else decoded(request.image)
        request = replace(request, image=image)
        parts, asked = self._parts, as_counted(request)
        # Looked up though the count may be remembered: what is gone is not answered for.
        picture = live_key(parts.catalog, image) if isinstance(image, StoredImage) else None
        describe = partial(self._describe, collection)
        counted = CountedSearch(parts.catalog, parts.counts, request, collection, describe, picture)
        return counted.answer(partial(question_of, parts, admitted, asked, collection), watch)

    def explain(self, collection: str, image_id: str, text: str) -> ExplainedImage:
        """Why one stored image matches a text, or how little.

        Raises:
            InputError: no text.
            NotFoundError: no such collection or image.
            UnavailableError: the image is not indexed yet, or the model gives no numbers.
            ImageRejected: it has neither patches nor a readable original.
            CheckpointError: the collection's model cannot explain.
            ModelUnavailableError, ModelMismatchError: the collection's model cannot be had.
            OverloadedError: too many requests wait already.
        """
        return explain_image(self._parts, collection, image_id, text)

    def _answer(
        self,
        request: SearchRequest,
        collection: Collection,
        question: Question,
        clock: Stopwatch,
        watch: SearchWatch | None,
    ) -> SearchResponse:
        wanted = max(request.candidates, request.offset + request.limit)
        both = question.retrieve(wanted, request.candidates if request.rerank else 0, clock)
        if question.reading.nothing_known:
            return self._unranked(request, collection, question, both, clock)
        both, folding = self._folded(request, collection, question, both, clock)
        found, fused = both.retrieved, both.fused
        known = question.knowledge(fused.head)
        told = None
        if watch is not None:
            describe = partial(self._describe, collection, request, fused, folding=folding)
            telling = Telling(watch, request, fused, describe, folding)
            watch.candidates(_before_itm(telling, found, question, known.effort, clock))
            told = telling.order
        left = None if request.deadline_ms is None else request.deadline_ms - clock.elapsed_ms()
        judged = question.judge(fused.head, known, left, told) if fused.head else []
        order = judged + [unscored(one) for one in fused.rest]
        clock.lap("rerank")
        ranked = folding.fold([one for one in order if is_probable(one, request.min_probability)])
        page = ranked[request.offset : request.offset + request.limit]
        why = question.explain([one.key for one in page if one.itm_logit is not None])
        return SearchResponse(
            results=explained(self._describe(collection, request, fused, page, folding), why),
            truncated=question.truncated,
            timings=clock.timings(),
            generation=found.generation,
            images=found.images,
            scored=sum(one.itm_logit is not None for one in order),
            degraded=found.degraded + question.degraded() + folding.degraded,
            effort=known.effort,
            reached=known.reached(order[: len(fused.head)]),
            approximate=found.approximate,
            recall=found.recall,
            unknown_words=question.reading.unknown,
            notes=question.reading.notes,
        )

    def _unranked(
        self,
        request: SearchRequest,
        collection: Collection,
        question: Question,
        both: Found,
        clock: Stopwatch,
    ) -> SearchResponse:
        """The model knows no word of the question: what it would put in order means nothing. Images whose
        texts have the words are hits all the same, as the words have them, and ITM scores none."""
        found, fused = both.retrieved, both.fused
        here = {one.key: one for one in fused.head}
        said = [unscored(here[key]) for key in fused.said if key in here]
        ranked = [one for one in said if is_probable(one, request.min_probability)]
        page = ranked[request.offset : request.offset + request.limit]
        return SearchResponse(
            results=tuple(self._describe(collection, request, fused, page)),
            truncated=question.truncated,
            timings=clock.timings(),
            generation=found.generation,
            images=found.images,
            scored=0,
            degraded=found.degraded + question.degraded(),
            approximate=found.approximate,
            recall=found.recall,
            unknown_words=question.reading.unknown,
            notes=question.reading.notes,
        )

    def _folded(
        self,
        request: SearchRequest,
        collection: Collection,
        question: Question,
        both: Found,
        clock: Stopwatch,
    ) -> tuple[Found, Folding]:
        """Candidates enough for as many groups as are wanted, where hits are to be collapsed."""
        if not request.collapse:
            return both, NOTHING_FOLDED
        wanted = max(request.candidates, request.offset + request.limit)
        while True:
            folding = self._parts.collapsing.of(collection, both.fused)
            groups = len(folding.fold([*both.fused.head, *both.fused.rest]))
            enough = groups >= request.offset + request.limit or wanted >= both.retrieved.images
            if enough or wanted >= MAX_CANDIDATES or request.min_probability is not None:
                return both, folding
            wanted = min(4 * wanted, MAX_CANDIDATES)
            both = question.retrieve(wanted, request.candidates if request.rerank else 0, clock)

    def _describe(
        self,
        collection: Collection,
        request: SearchRequest,
        fused: Fused,
        page: Sequence[Ranked],
        folding: Folding = NOTHING_FOLDED,
    ) -> list[SearchHit]:
        """Hits as the catalog knows them, in the version that was found; what was purged is left out."""
        keys = [one.key for one in page]
        images = self._parts.catalog.describe_found(collection.id, keys, self._parts.most_bytes, fused.said)
        by_itm = request.matcher is None
        return [
            SearchHit(
                id=image.image_id, uri=image.uri, rank=request.offset + place, score=one.score, itc=one.itc,
                itc_rank=None if one.key in fused.unfound else one.itc_rank,
                itm_logit=one.itm_logit if by_itm else None,
                match_probability=one.match_probability if by_itm else None,
                instruction_probability=None if by_itm else one.match_probability,
                caption=image.caption, metadata=image.metadata, key=one.key, sha256=image.sha256,
                match_probability_raw=one.match_probability_raw if by_itm else None,
                width=image.width or 0, height=image.height or 0,
                found_by=fused.found_by(one.key), matched_text=fused.said.get(one.key),
                clauses=matches(request.query, one),
                similarity=fused.similarity.get(one.key),
                duplicates=folding.others(one.key) if request.collapse else None,
            )
            for place, one in enumerate(page, 1)
            if (image := images.get(one.key)) is not None
        ]  # fmt: skip


def _before_itm(
    telling: Telling, found: Retrieved, question: Question, effort: Effort, clock: Stopwatch
) -> SearchResponse:
    """What the answer is as long as ITM has scored nothing."""
    return SearchResponse(
        results=tuple(telling.by_itc()),
        truncated=question.truncated,
        timings=clock.timings(),
        generation=found.generation,
        images=found.images,
        scored=0,
        degraded=found.degraded,
        effort=effort,
        approximate=found.approximate,
        recall=found.recall,
        unknown_words=question.reading.unknown,
        notes=question.reading.notes,
    )
