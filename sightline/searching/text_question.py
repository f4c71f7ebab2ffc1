"""The plain question: one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sightline.kept import kept
from sightline.reranker.reranker import Reranker
from sightline.searching.fusion import fuse
from sightline.searching.questions import Found
from sightline.searching.reading import Reading, reading_of
from sightline.store.filters import parse_filter

if TYPE_CHECKING:
    from sightline.blip.calibration import Calibration
    from sightline.blip.protocols import RetrievalModel
    from sightline.explanations import Explanation
    from sightline.records import SearchRequest
    from sightline.reranker.records import Candidate, Ranked, Watch
    from sightline.retriever.together import Together
    from sightline.searching.cascades import Knowledge
    from sightline.searching.explaining import Reasons
    from sightline.searching.instructing import Judging
    from sightline.searching.search_parts import SearchParts
    from sightline.searching.stopwatch import Stopwatch
    from sightline.store.records import Collection
    from sightline.store.text_records import TextHit
    from sightline.types import Vector


class TextQuestion:
    """Finds candidates by the text's vector and its words, and judges them by ITM, or by an instruction."""

    def __init__(
        self,
        parts: SearchParts,
        request: SearchRequest,
        collection: Collection,
        model: RetrievalModel,
        judging: Judging | None,
        reasons: Reasons | None = None,
        together: Together | None = None,
    ) -> None:
        self._parts = parts
        self._request = request
        self._collection = collection
        self._model = model
        self._judging = judging
        self._reasons = reasons
        self._together = together
        self._source = parts.patches.of(collection, model)

    @kept
    def truncated(self) -> bool:
        """Whether the text is longer than the model reads."""
        return self._model.is_truncated(self._request.text)

    @kept
    def reading(self) -> Reading:
        """Which words of the text the model does not know."""
        return reading_of(self._model, [self._request.text])

    @kept
    def _vector(self) -> Vector:
        vector = self._model.encode_text([self._request.text])[0].float().cpu().numpy()
        self._parts.asked(self._collection, vector)
        return vector

    def retrieve(self, wanted: int, judged: int, clock: Stopwatch, besides: Sequence[int] = ()) -> Found:
        """By the text's vector; words of captions bring candidates, too, unless they are not wanted.

        ``besides``: keys whose ITC scores are wanted, too.
        """
        request = self._request
        condition = None if request.filter is None else parse_filter(request.filter)
        vector = self._vector
        clock.lap("encode")
        said: list[TextHit] = []
        if request.rerank and request.texts:
            asked = self.reading.words_to_find(request.text)
            said = self._parts.catalog.search_texts(self._collection.id, asked, judged, condition)
        keys = [*besides, *(hit.key for hit in said)]
        retriever = self._parts.exact if request.index == "exact" else self._parts.retriever
        found = retriever.retrieve(request.collection, vector, wanted, condition, keys, self._together)
        clock.lap("retrieve")
        return Found(found, fuse(found, said, judged))

    def knowledge(self, head: Sequence[Candidate]) -> Knowledge:
        """What searches have learned of this collection."""
        return self._parts.cascades.knowledge(self._request, self._collection, self._model, head)

    def judge(
        self,
        candidates: Sequence[Candidate],
        known: Knowledge,
        left_ms: float | None = None,
        watch: Watch | None = None,
    ) -> list[Ranked]:
        """By ITM, or by yes and no where there is an instruction."""
        request, judging = self._request, self._judging
        if judging is None:
            # Of all pairs of the text, whichever candidates are judged together.
            calibration = self._calibration.for_query(unknown=bool(self.reading.unknown))
            reranker = Reranker(self._model, self._source, self._model, calibration=calibration)
            score = request.score
        else:
            reranker, score = Reranker(judging.matcher, judging.source), "itm"
        return reranker.rerank(
            request.text, candidates, len(candidates), score, left_ms, request.precision,
            request.offset + request.limit, watch=watch, effort=known.effort, cascade=known.cascade,
            record=known.record,
        )  # fmt: skip

    def explain(self, keys: Sequence[int]) -> Mapping[int, Explanation]:
        """Why the images of these keys match, where that was asked for."""
        if self._reasons is None:
            return {}
        return self._reasons.of(self._request.text, keys, self._source, self._calibration)

    @kept
    def _calibration(self) -> Calibration:
        """Of the collection."""
        return self._parts.calibrations.of(self._collection, self._model)

    def degraded(self) -> tuple[str, ...]:
        """Patches that are lost or damaged."""
        return self._source.degraded()
