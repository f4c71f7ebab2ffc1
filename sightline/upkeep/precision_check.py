"""Which arithmetic scores pairs fastest and keeps their order: decided on real pictures of a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.blip.arithmetics import SeveralArithmetics
from sightline.blip.plain_sentences import PLAIN_SENTENCES
from sightline.serving.verdicts import EXACT, verdict
from sightline.store.conditions import Filter
from sightline.types import NO_PATCHES
from sightline.upkeep.cache_sample import captions_of, stored_tokens
from sightline.upkeep.precision_trial import PairSample, Trials, at_once

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.searching.patches import PatchCache
    from sightline.serving.models import Models
    from sightline.serving.verdicts import Verdict, VerdictFiles
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.store.segments import SegmentReader
    from sightline.types import OnProgress
    from sightline.upkeep.precision_trial import Run

_LOOKED_AT: Final = 10
"""So many times the pictures that are wanted: not all may have stored patches."""


@dataclass(frozen=True)
class SampleSize:
    """How much is measured. ``first_pictures`` and ``first_texts``: before the hopeless are left out."""

    pictures: int = 100
    texts: int = 20
    first_pictures: int = 25
    first_texts: int = 5


class PrecisionCheck:
    """Checks models on collections and keeps the verdicts."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        patches: PatchCache,
        models: Models,
        verdicts: VerdictFiles,
        size: SampleSize | None = None,
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._patches = patches
        self._models = models
        self._verdicts = verdicts
        self._size = size or SampleSize()

    def known(self, collection: Collection, model: RetrievalModel) -> Verdict | None:
        """The verdict on a collection's model that was kept earlier, by this process or another."""
        return self._verdicts.find(self._fingerprint(collection), model.device)

    def decide(
        self, collection: Collection, model: RetrievalModel, show: OnProgress, run: Run = at_once
    ) -> Verdict | None:
        """Measure, keep the verdict, and let the model score accordingly from its next search on.

        None where there is nothing to decide: an arithmetic was set, the machine has one only, or the
        collection has too few pictures with stored patches. ``run`` is what every computation goes through.

        Raises:
            StorageError, UnavailableError: patches cannot be read.
        """
        if not isinstance(model, SeveralArithmetics) or not model.scorers.is_automatic:
            return None
        offers = model.scorers.offers()
        keys = self._with_patches(collection) if offers else []
        if len(keys) < self._size.pictures:
            return None
        sample = self._sampled(collection, model, keys, run)
        trials = Trials({name: model.trial(name) for name in [EXACT, *offers]}, sample, run, show)
        found = trials.results(self._size.first_texts, self._size.first_pictures)
        texts, pictures = trials.shape
        told = verdict(
            self._fingerprint(collection), found, trials.milliseconds(EXACT), pictures, texts, model.device
        )
        self._verdicts.write(told, model.device)
        model.scorers.adopt(told.arithmetic)
        return told

    def _fingerprint(self, collection: Collection) -> str:
        return self._models.identify(collection.model, collection.revision).fingerprint

    def _with_patches(self, collection: Collection) -> list[int]:
        """Keys of as many live images with stored patches as are wanted, always the same."""
        keys = self._catalog.filter_keys(collection.id, Filter())
        if len(keys) < self._size.pictures:
            return []
        some = np.random.default_rng(0).permutation(keys)[: _LOOKED_AT * self._size.pictures].tolist()
        places = self._catalog.locations(some)
        kept = [key for key in some if key in places and places[key].codec != NO_PATCHES]
        return kept[: self._size.pictures]

    def _sampled(
        self, collection: Collection, model: RetrievalModel, keys: list[int], run: Run
    ) -> PairSample:
        texts = [*captions_of(self._catalog, collection, keys), *PLAIN_SENTENCES][: self._size.texts]
        vectors_TD = run(lambda: model.encode_text(texts).float().cpu().numpy())
        tokens_NQD = stored_tokens(self._catalog, self._segments, keys)
        itc_TN = np.einsum("td,nqd->tnq", vectors_TD, tokens_NQD).max(axis=2)
        return PairSample(keys, texts, itc_TN, self._patches.of(collection, model))
