"""Pictures judged for the saved searches of their collection, each batch read once for all of them.

Judged in float32, whatever searches compute in: only there a picture's number depends neither on who is
judged beside it nor on the machine, but for the last of about six digits (docs/decisions/172).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sightline.blip.arithmetics import SeveralArithmetics
from sightline.faultpoint import faultpoint
from sightline.records import SearchRequest
from sightline.searching.cascades import Knowledge
from sightline.searching.patches import CollectionPatches, PatchCache
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
Calibration = Callable[["Collection"], str]
"""Names what turns a collection's logits into probabilities: equal names, equal numbers."""


def uncalibrated(collection: Collection) -> str:
    """The softmax over the two logits, for every collection."""
    return "raw"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A picture that nobody found: it is judged all the same."""

    key: int
    itc_rank: int
    itc: float = 0.0


class SavedJudging:
    """Judges for one installation; in one thread at a time."""

    def __init__(self, parts: SearchParts, batch: int, calibration: Calibration = uncalibrated) -> None:
        """``batch``: pictures whose patches are in memory together."""
        self._parts = parts
        self._batch = batch
        self._calibration = calibration

    def step(self, collection: Collection) -> int:
        """Judges the next pictures of a collection; how many (0: all is judged).

        Raises:
            ModelUnavailableError, ModelMismatchError: the collection's model cannot be had.
            UnavailableError: the model gives no numbers, or the catalog does not answer.
        """
        catalog = self._parts.catalog
        judge = f"{collection.fingerprint} {self._calibration(collection)}"
        if any(one.judged_by != judge for one in catalog.saved_asked(collection.id)):
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
    request = SearchRequest(
        collection.name,
        search.question["text"],
        min_probability=search.min_probability,
        score="itm",
        precision="exact",
    )
    return TextQuestion(parts, request, collection, model, None)


def judged(question: Question, keys: Sequence[int]) -> dict[int, float | None]:
    """Key → match probability, None where neither patches nor original can be had."""
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
