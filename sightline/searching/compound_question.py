"""The compound question: clauses that a picture should match, and some that it should not.

Candidates come from the text vectors of all that is looked for, and from the vector of the clauses of ``all``
read as one sentence: a picture that shows them all may be among the first of none. Each candidate has its
exact cosine c with every positive clause, and the compound ITC score

    (sum over all of w · c  +  W · max over any of c) / (sum over all of w  +  W)

with W, the largest weight in any, puts them in order. What must not be shown has no part in it: a cosine does
not say that something is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sightline.blip.protocols import StagedMatcher
from sightline.kept import kept
from sightline.queries import ClauseMatch, Query
from sightline.records import MAX_CANDIDATES
from sightline.reranker.compound import CompoundOrdering
from sightline.reranker.judging import Pace
from sightline.reranker.ordering import unscored
from sightline.retriever.records import Candidate, Retrieved
from sightline.searching.cascades import Knowledge
from sightline.searching.fusion import K, fuse
from sightline.searching.questions import Found
from sightline.searching.reading import Reading, reading_of
from sightline.store.filters import parse_filter

if TYPE_CHECKING:
    from sightline.blip.calibration import Calibration
    from sightline.blip.protocols import RetrievalModel
    from sightline.explanations import Explanation
    from sightline.records import SearchRequest
    from sightline.reranker.records import Candidate as ToJudge
    from sightline.reranker.records import Ranked, Watch
    from sightline.searching.search_parts import SearchParts
    from sightline.searching.stopwatch import Stopwatch
    from sightline.store.conditions import Filter
    from sightline.store.records import Collection
    from sightline.store.text_records import TextHit
    from sightline.types import Vector

BATCH: Final = 16
"""Pictures that go through the model together, clause after clause."""
POOL: Final = 1_000
"""So many candidates each vector brings, where the best of all of them are wanted."""
Cosines = dict[int, float]
"""ITC scores by key, of one clause."""


def texts_encoded(query: Query) -> list[str]:
    """Of what a query takes the vectors: every positive clause, then those in ``all`` as one sentence."""
    texts = [one.text for one in query.positive]
    return texts if len(query.all) < 2 else [*texts, " and ".join(one.text for one in query.all)]


class CompoundQuestion:
    """Every candidate is judged against every clause; effort and cascades are for one text."""

    def __init__(
        self,
        parts: SearchParts,
        request: SearchRequest,
        query: Query,
        collection: Collection,
        model: RetrievalModel,
    ) -> None:
        self._parts = parts
        self._request = request
        self._query = query
        self._collection = collection
        self._model = model
        self._source = parts.patches.of(collection, model)

    @kept
    def truncated(self) -> bool:
        """Whether any clause is longer than the model reads."""
        return any(self._model.is_truncated(text) for text in self._query.texts)

    @kept
    def reading(self) -> Reading:
        """Which words of the clauses the model does not know. Where it knows none of those of what is looked
        for, nothing is ranked, whatever it knows of the others."""
        every = reading_of(self._model, self._query.texts)
        positive = reading_of(self._model, [one.text for one in self._query.positive])
        return replace(every, nothing_known=positive.nothing_known, notes=positive.notes)

    def retrieve(self, wanted: int, judged: int, clock: Stopwatch, besides: Sequence[int] = ()) -> Found:
        """By all vectors; words of captions bring candidates for each positive clause.

        ``besides``: keys whose compound ITC scores are wanted, too.
        """
        request = self._request
        condition = None if request.filter is None else parse_filter(request.filter)
        vectors = self._vectors()
        clock.lap("encode")
        said = self._said(judged, condition) if request.rerank and request.texts else []
        found = self._retrieved(vectors, wanted, condition, [*(hit.key for hit in said), *besides])
        clock.lap("retrieve")
        return Found(found, fuse(found, said, judged))

    def knowledge(self, head: Sequence[ToJudge]) -> Knowledge:
        """Nothing is learned of several clauses: all are judged."""
        judged = head and self._request.score != "itc"
        layers = self._model.match_layers if judged and isinstance(self._model, StagedMatcher) else 0
        return Knowledge(layers=layers)

    def judge(
        self,
        candidates: Sequence[ToJudge],
        known: Knowledge,
        left_ms: float | None = None,
        watch: Watch | None = None,
    ) -> list[Ranked]:
        """By ITM, each clause by itself; with the score ``itc`` by ITC alone."""
        request = self._request
        if request.score == "itc":
            return [unscored(one) for one in sorted(candidates, key=lambda one: (one.itc_rank, one.key))]
        again = 2 * (request.offset + request.limit) if request.precision == "exact" else 0
        pace = Pace(BATCH, left_ms, time.monotonic)
        ordering = CompoundOrdering(self._model, self._source, self._query, pace, self._calibrations)
        return ordering.of(candidates, again, watch)

    @kept
    def _calibrations(self) -> list[Calibration]:
        """Of every clause: a word that is not known makes its own clause unlikely, and no other."""
        chosen = self._parts.calibrations.of(self._collection, self._model)
        read = [reading_of(self._model, [text]) for text in self._query.texts]
        return [chosen.for_query(unknown=bool(one.unknown)) for one in read]

    def explain(self, keys: Sequence[int]) -> Mapping[int, Explanation]:
        """None: an explanation is of one text, and `check` has refused the search that asked for it."""
        return {}

    def degraded(self) -> tuple[str, ...]:
        """Patches that are lost or damaged."""
        return self._source.degraded()

    def _vectors(self) -> list[Vector]:
        """Of every positive clause; last, where there are several in ``all``, of these as one sentence."""
        vectors = list(self._model.encode_text(texts_encoded(self._query)).float().cpu().numpy())
        for vector in vectors[: len(self._query.positive)]:
            self._parts.asked(self._collection, vector)
        return vectors

    def _said(self, most: int, condition: Filter | None) -> list[TextHit]:
        """The best texts for the words of every positive clause, fused by reciprocal ranks."""
        hits: dict[int, TextHit] = {}
        worth: dict[int, float] = {}
        for clause in self._query.positive:
            asked = reading_of(self._model, [clause.text]).words_to_find(clause.text)
            found = self._parts.catalog.search_texts(self._collection.id, asked, most, condition)
            for rank, hit in enumerate(found, 1):
                hits.setdefault(hit.key, hit)
                worth[hit.key] = worth.get(hit.key, 0.0) + clause.weight / (K + rank)
        return [hits[key] for key in sorted(hits, key=lambda key: (-worth[key], key))[:most]]

    def _retrieved(
        self, vectors: Sequence[Vector], wanted: int, condition: Filter | None, besides: Sequence[int]
    ) -> Retrieved:
        """The best ``wanted`` by the compound ITC score of all that any vector found, and what is besides."""
        several = len(self._query.positive)
        depth = self._depth(wanted)
        known: list[Cosines] = [{} for _ in vectors]
        keys = dict.fromkeys(besides)
        answers = []
        for row in reversed(range(len(vectors))):
            # What the passes before found, and words, is scored in the pass of a clause.
            missing = [key for key in keys if row < several]
            answers.append(self._pass(known[row], vectors[row], depth, condition, missing))
            keys.update(dict.fromkeys(one.key for one in answers[-1].candidates))
        for row in range(1, several):
            if missing := [key for key in keys if key not in known[row]]:
                answers.append(self._pass(known[row], vectors[row], 1, condition, missing))
        return self._joined(known[:several], answers, wanted, frozenset(besides))

    def _depth(self, wanted: int) -> int:
        """How many each vector brings. Where several cosines add up, those who are best in sum may be the
        first of none: then it is many, and the same number whichever page is asked for."""
        if len(self._query.all) + bool(self._query.any) == 1:
            return wanted
        return POOL if wanted <= POOL else max(wanted, MAX_CANDIDATES)

    def _pass(
        self,
        known: Cosines,
        vector: Vector,
        most: int,
        condition: Filter | None,
        besides: Sequence[int],
    ) -> Retrieved:
        request = self._request
        retriever = self._parts.exact if request.index == "exact" else self._parts.retriever
        answer = retriever.retrieve(request.collection, vector, most, condition, besides)
        known.update((one.key, one.itc) for one in [*answer.candidates, *answer.others])
        return answer

    def _joined(
        self, known: Sequence[Cosines], answers: Sequence[Retrieved], wanted: int, besides: frozenset[int]
    ) -> Retrieved:
        alive = [key for key in known[0] if all(key in one for one in known)]
        scores = {key: self._itc([one[key] for one in known]) for key in alive}
        order = sorted(alive, key=lambda key: (-scores[key], key))
        first, rest = order[:wanted], [key for key in order[wanted:] if key in besides]
        recalls = [one.recall for one in answers if one.recall is not None]
        return Retrieved(
            [Candidate(key, scores[key], rank) for rank, key in enumerate(first, 1)],
            answers[-1].generation,
            answers[-1].images,
            tuple(dict.fromkeys(said for one in answers for said in one.degraded)),
            [Candidate(key, scores[key], rank) for rank, key in enumerate(rest, 1)],
            min(recalls, default=None),
        )

    def _itc(self, cosines: Sequence[float]) -> float:
        """The compound ITC score, from the cosine with each positive clause."""
        query = self._query
        weights = [one.weight for one in query.all]
        terms = list(cosines[: len(weights)])
        if query.any:
            weights.append(max(one.weight for one in query.any))
            terms.append(max(cosines[len(query.all) :]))
        total = sum(weight * term for weight, term in zip(weights, terms, strict=True))
        return total / sum(weights)


def matches(query: Query | None, one: Ranked) -> tuple[ClauseMatch, ...]:
    """How likely a candidate shows each clause; empty where ITM did not judge it."""
    if query is None or not one.clauses:
        return ()
    return tuple(
        ClauseMatch(clause.text, role, probability)
        for (role, clause), probability in zip(query.clauses, one.clauses, strict=True)
    )
