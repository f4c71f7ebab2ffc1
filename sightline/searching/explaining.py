"""Why images match: for the hits of a search, or for one stored image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from sightline.blip.calibrated import note_of
from sightline.blip.protocols import explaining
from sightline.errors import (
    CorruptionError,
    DeadlineError,
    InputError,
    NotFoundError,
    UnavailableError,
)
from sightline.explanations import MAX_EXPLAINED
from sightline.reranker.explaining import explain
from sightline.reranker.judging import gathered
from sightline.searching.count_checks import is_counted
from sightline.searching.reading import calibration_of_text, reading_of
from sightline.serving.explaining import SharedExplainer

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.calibration import Calibration
    from sightline.blip.latents import Latents
    from sightline.blip.protocols import RetrievalModel
    from sightline.explanations import Explanation
    from sightline.records import SearchHit, SearchRequest
    from sightline.searching.patches import CollectionPatches, PatchCache
    from sightline.searching.search_parts import SearchParts
    from sightline.serving.scheduler import Admission
    from sightline.serving.shared_model import SharedModel
    from sightline.store.records import Collection, Image

TOGETHER: Final = 4
"""Images in one turn of the model: others wait for that long."""


@dataclass(frozen=True)
class ExplainedImage:
    """A stored image and why it matches a text. ``truncated``: the text was cut at the model's limit;
    ``degraded``, ``unknown_words``, ``notes``: as of a search."""

    image: Image
    explanation: Explanation
    truncated: bool
    degraded: tuple[str, ...]
    unknown_words: tuple[str, ...]
    notes: tuple[str, ...]


class Reasons:
    """Explains images of one collection, for one request in one thread."""

    def __init__(
        self,
        cache: PatchCache,
        collection: Collection,
        bare: RetrievalModel,
        shared: SharedModel,
        admitted: Admission,
    ) -> None:
        """``bare``: the collection's model, ``shared`` as this request sees it.

        Raises:
            CheckpointError: it cannot explain.
        """
        self._explainer = SharedExplainer(explaining(bare, collection.model), admitted)
        self._model = shared
        self._cache = cache

    def of(
        self, text: str, keys: Sequence[int], source: CollectionPatches, calibration: Calibration
    ) -> dict[int, Explanation]:
        """By key; without those whose patches cannot be had, or whose turn did not come in time.

        ``calibration``: of the collection, whatever the text.
        """
        found: dict[int, Explanation] = {}
        try:
            for start in range(0, len(keys), TOGETHER):
                for some, patches in gathered(source, keys[start : start + TOGETHER]):
                    explanations = self._explain(text, some, patches, calibration)
                    found.update(zip(some, explanations, strict=True))
        except DeadlineError:
            pass  # others use the model as well; what is explained by now is told
        return found

    def _explain(
        self, text: str, keys: Sequence[int], patches: Tensor | Latents, calibration: Calibration
    ) -> list[Explanation]:
        tokens_KQD = self._tokens(keys, patches)
        of_text = partial(calibration_of_text, calibration, self._model)
        return explain(self._explainer, self._model, text, patches, tokens_KQD, of_text)

    def _tokens(self, keys: Sequence[int], patches: Tensor | Latents) -> Tensor:
        """Tokens ``[K,Q,D]``: those stored, which gave the hits their ITC, else made from the patches."""
        import torch

        stored = self._stored_tokens(keys)
        if stored is not None:
            return stored
        whole = patches if isinstance(patches, torch.Tensor) else patches.patches()
        return self._model.encode_image(whole)

    def _stored_tokens(self, keys: Sequence[int]) -> Tensor | None:
        import numpy as np
        import torch

        places = self._cache.catalog.locations(keys)
        try:
            rows = [
                self._cache.segments.rows(places[key].file, "tokens", np.array([places[key].row]))
                for key in keys
            ]
        except (KeyError, OSError, CorruptionError, NotFoundError):
            return None  # merged or damaged meanwhile
        return torch.from_numpy(np.concatenate(rows))


def check_explained(request: SearchRequest) -> None:
    """Raises InputError for a search whose hits cannot be explained."""
    if not request.explain:
        return
    if request.image is not None and not request.text.strip() and request.query is None:
        raise InputError("The parameter explain is about a text: give one beside the picture.")
    if request.query is not None:
        raise InputError("The parameter explain tells why images match one text; leave out the query.")
    if is_counted(request):
        raise InputError("The parameter explain goes with the best hits; leave out sort, exact and cursor.")
    if request.limit > MAX_EXPLAINED:
        raise InputError(f"At most {MAX_EXPLAINED} hits can be explained at once; lower the parameter limit.")
    if not request.rerank or request.score == "itc":
        raise InputError(
            "The parameter explain tells what ITM saw: search with rerank and a score other than itc."
        )
    if request.matcher is not None:
        raise InputError("The parameter explain tells what ITM saw; leave out the matcher.")


def explained(hits: Sequence[SearchHit], found: Mapping[int, Explanation]) -> tuple[SearchHit, ...]:
    """The hits with their explanations, where there are any."""
    return tuple(replace(hit, explanation=found.get(hit.key)) for hit in hits)


def explain_image(parts: SearchParts, collection_name: str, image_id: str, text: str) -> ExplainedImage:
    """See `sightline.searching.search.Search.explain`."""
    if not text.strip():
        raise InputError("The text is empty; say what the picture should show.")
    image = parts.catalog.image(collection_name, image_id)
    if image.state != "live":
        raise UnavailableError(f"Image {image_id} of {collection_name} is not indexed yet ({image.state}).")
    with parts.scheduler.admit() as admitted:
        collection = parts.catalog.collection(collection_name)
        bare = parts.models.encoder(collection)
        shared = admitted.share(bare)
        source = parts.patches.of(collection, shared)
        source.patches([image.key])  # raises where they cannot be had
        calibration = parts.calibrations.of(collection, shared)
        reasons = Reasons(parts.patches, collection, bare, shared, admitted)
        found = reasons.of(text, [image.key], source, calibration)
        if image.key not in found:
            raise UnavailableError(f"The patches of image {image_id} are being replaced; ask again.")
        note = note_of(shared)
        return ExplainedImage(
            image, found[image.key], shared.is_truncated(text), source.degraded(),
            reading_of(shared, [text]).unknown, () if note is None else (note,),
        )  # fmt: skip
