"""A picture as the question, alone or with a text: "like this, but at night"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.kept import kept
from sightline.retriever.similar import SimilarImages
from sightline.searching.cascades import Knowledge
from sightline.searching.fusion import Fused, fuse_similar
from sightline.searching.questions import Found
from sightline.searching.reading import Reading, reading_of
from sightline.store.filters import parse_filter

if TYPE_CHECKING:
    from sightline.blip.protocols import Encoder
    from sightline.explanations import Explanation
    from sightline.records import SearchRequest
    from sightline.reranker.records import Candidate, Ranked, Watch
    from sightline.searching.compound_question import CompoundQuestion
    from sightline.searching.query_pictures import QueryPicture
    from sightline.searching.search_parts import SearchParts
    from sightline.searching.stopwatch import Stopwatch
    from sightline.searching.text_question import TextQuestion


class PictureQuestion:
    """Finds images like a picture; where there is a text, ITM judges that part.

    With a text a hit's score is its similarity times its match probability: what is like the picture and
    shows something else stands as low as what shows the text and is unlike the picture.
    """

    def __init__(
        self,
        parts: SearchParts,
        request: SearchRequest,
        picture: QueryPicture,
        model: Encoder | None,
        text: TextQuestion | CompoundQuestion | None,
    ) -> None:
        """``model`` may be None for a stored picture without a text."""
        self._request = request
        self._picture = picture
        self._model = model
        self._text = text
        self._similar = SimilarImages(parts.exact if request.index == "exact" else parts.retriever)
        self._similarity: dict[int, float] = {}

    @property
    def truncated(self) -> bool:
        """Whether the text beside it is longer than the model reads."""
        return self._text is not None and self._text.truncated

    @kept
    def reading(self) -> Reading:
        """Of the words beside it. Without any, what is to be said of the model that sees the picture."""
        if self._text is not None:
            return self._text.reading
        return Reading() if self._model is None else reading_of(self._model, ())

    def retrieve(self, wanted: int, judged: int, clock: Stopwatch) -> Found:
        """By similarity; a text brings candidates as it does alone, and both lists are fused."""
        tokens = self._picture.tokens(self._model)
        clock.lap("encode")
        name, filter = self._request.collection, self._request.filter
        condition = None if filter is None else parse_filter(filter)
        like = self._similar.retrieve(name, tokens, wanted, condition, self._picture.own_key)
        self._similarity = {one.key: one.itc for one in like.candidates}
        if self._text is None:
            clock.lap("retrieve")
            return Found(like, Fused([], like.candidates, similarity=self._similarity))
        found = self._text.retrieve(wanted, judged, clock, [one.key for one in like.candidates])
        by_text = [*found.fused.head, *found.fused.rest]
        known = {*self._similarity, self._picture.own_key}
        missing = [one.key for one in by_text if one.key not in known]
        self._similarity |= self._similar.similarities(name, tokens, missing)
        clock.lap("retrieve")
        retrieved = replace(
            found.retrieved,
            images=like.images,
            degraded=tuple(dict.fromkeys(found.retrieved.degraded + like.degraded)),
            recall=None,
        )
        fused = fuse_similar(found.fused, found.retrieved, like.candidates, self._similarity, judged)
        return Found(retrieved, fused)

    def knowledge(self, head: Sequence[Candidate]) -> Knowledge:
        """All of them are judged (`beside_picture`), and texts alone have nothing to learn from that."""
        return Knowledge() if self._text is None else replace(self._text.knowledge(head), record=None)

    def judge(
        self,
        candidates: Sequence[Candidate],
        known: Knowledge,
        left_ms: float | None = None,
        watch: Watch | None = None,
    ) -> list[Ranked]:
        """By the text; similarity and match probability together make the order."""
        assert self._text is not None  # without one nobody is in the head

        def told(scored: Sequence[Ranked]) -> None:
            if watch is not None:
                watch(self._weighed(scored))

        return self._weighed(self._text.judge(candidates, known, left_ms, told))

    def explain(self, keys: Sequence[int]) -> Mapping[int, Explanation]:
        """Why the images match the text beside the picture."""
        return {} if self._text is None else self._text.explain(keys)

    def degraded(self) -> tuple[str, ...]:
        """Patches that are lost or damaged."""
        return () if self._text is None else self._text.degraded()

    def _weighed(self, ranked: Sequence[Ranked]) -> list[Ranked]:
        """The scored ones by both, best first (ties: by key), and below them the others as they were."""
        scored = [
            replace(one, score=self._similarity[one.key] * one.match_probability)
            for one in ranked
            if one.match_probability is not None
        ]
        scored.sort(key=lambda one: (-one.score, one.key))
        return scored + [one for one in ranked if one.match_probability is None]


def beside_picture(request: SearchRequest) -> SearchRequest:
    """The text's part. All candidates are judged alike: who is among the best is not for the text to say."""
    return replace(request, image=None, offset=0, limit=request.candidates, effort="full")
