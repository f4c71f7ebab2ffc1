"""Pictures judged for the saved searches of their collection, each batch read once for all of them.

Judged in float32, whatever searches compute in: only there a picture's number depends neither on who is
judged beside it nor on the machine, but for the last of about six digits (docs/decisions/172).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sightline.blip.arithmetics import SeveralArithmetics
from sightline.faultpoint import faultpoint
from sightline.records import SearchRequest
from sightline.searching.cascades import Knowledge
from sightline.searching.compound_question import CompoundQuestion
from sightline.searching.patches import CollectionPatches, PatchCache
from sightline.searching.saved_questions import query_from
from sightline.searching.text_question import TextQuestion
from sightline.store.saved_records import SavedWork, Verdicts

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel, Vision
    from sightline.reranker.records import PatchGroup
    from sightline.searching.questions import Question
    from sightline.searching.search_parts import SearchParts
    from sightline.store.records import Collection
    from sightline.store.saved_records import AskedSearch

log = logging.getLogger(__name__)

EXACT: Final = "float32"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A picture that nobody found: it is judged all the same."""

    key: int
    itc_rank: int
    itc: float = 0.0


class SavedJudging:
    """Judges for one installation; in one thread at a time."""

    def __init__(self, parts: SearchParts, batch: int) -> None:
        """``batch``: pictures whose patches are in memory together."""
        self._parts = parts
        self._batch = batch

    def step(self, collection: Collection) -> int:
        """Judges the next pictures of a collection; how many (0: all is judged).

        Raises:
            ModelUnavailableError, ModelMismatchError: the collection's model cannot be had.
            UnavailableError: the model gives no numbers, or the catalog does not answer.
        """
        catalog = self._parts.catalog
        if not (asked := catalog.saved_asked(collection.id)):
            return 0
        judge = f"{collection.fingerprint} {self._parts.calibrations.name_of(collection)}"
        if any(one.judged_by != judge for one in asked):
            catalog.begin_saved(collection.id, judge)
        work = catalog.saved_work(collection.id, self._batch)
        if work.items:
            self._keep(collection, [(one, work.keys_for(one)) for one in work.searches], work)
        return len(work.items)

    def again(self, collection: Collection) -> int:
        """Tries once more those of a collection that could not be judged; how many that was."""
        catalog, tried = self._parts.catalog, 0
        for search in catalog.saved_asked(collection.id):
            after = 0
            while keys := catalog.saved_unjudged(search.id, self._batch, after):
                self._keep(collection, [(search, keys)], None)
                after, tried = keys[-1], tried + len(keys)
        return tried

    def _keep(
        self,
        collection: Collection,
        asked: Sequence[tuple[AskedSearch, list[int]]],
        work: SavedWork | None,
    ) -> None:
        """``work``: what moves on when that is judged; None: out of order."""
        model = exactly(self._parts.models.encoder(collection))
        held = _HeldPatches(self._parts.patches, collection, model)
        parts = replace(self._parts, patches=held)
        until = None if work is None else work.items[-1]
        verdicts = [
            Verdicts(search, until, judged(question_of(parts, search, collection, model), keys))
            for search, keys in asked
        ]
        faultpoint("saved.judged")
        self._parts.catalog.keep_saved(collection.id, verdicts)
        faultpoint("saved.kept")


def exactly(model: RetrievalModel) -> RetrievalModel:
    """The same model, judging in float32 whatever precision is asked for."""
    return model.trial(EXACT) if isinstance(model, SeveralArithmetics) else model


def question_of(
    parts: SearchParts, search: AskedSearch, collection: Collection, model: RetrievalModel
) -> Question:
    """What a saved search asks, as the search with that body does."""
    query = search.question.get("query")
    request = SearchRequest(
        collection.name,
        search.question.get("text", ""),
        min_probability=search.min_probability,
        score="itm",
        precision="exact",
        query=None if query is None else query_from(query),
    )
    if request.query is not None:
        return CompoundQuestion(parts, request, request.query, collection, model)
    return TextQuestion(parts, request, collection, model, None)


def judged(question: Question, keys: Sequence[int]) -> dict[int, float | None]:
    """Key → match probability, None where neither patches nor original can be had.

    Where the model knows no word of the question nobody matches, as in a search.
    """
    if question.reading.nothing_known:
        return dict.fromkeys(keys, 0.0)
    candidates = [_Asked(key, rank) for rank, key in enumerate(keys, 1)]
    ranked = question.judge(candidates, Knowledge("full")) if candidates else []
    return {one.key: one.match_probability for one in ranked}


class _HeldPatches(PatchCache):
    """Gives all questions of one batch the same source."""

    def __init__(self, cache: PatchCache, collection: Collection, model: Vision) -> None:
        super().__init__(cache.catalog, cache.segments, cache.formats, cache.reencoding)
        self._held = _Held(self, collection, model)

    def of(self, collection: Collection, model: Vision) -> CollectionPatches:
        """The one source."""
        return self._held


class _Held(CollectionPatches):
    """Reads patches once: questions ask for the same keys in the same batches."""

    def __init__(self, cache: PatchCache, collection: Collection, model: Vision) -> None:
        super().__init__(cache, collection, model)
        self._groups: dict[tuple[int, ...], list[PatchGroup]] = {}

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        """As of any source, from memory the second time."""
        asked = tuple(keys)
        if asked not in self._groups:
            self._groups[asked] = super().patches(keys)
        return self._groups[asked]
