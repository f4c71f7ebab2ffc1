"""A cascade fitted now, from a collection's own pictures and queries, and what it is worth there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.blip.protocols import StagedMatcher
from sightline.errors import StorageError
from sightline.reranker.cascade import Plan
from sightline.reranker.cascade_plans import LEAST_QUERIES
from sightline.reranker.reranker import Reranker
from sightline.reranker.samples import LEAST_PAIRS, MOST_PAIRS, Sample
from sightline.store.conditions import Filter

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.retriever.records import Candidate
    from sightline.retriever.retriever import Retriever
    from sightline.searching.cascades import Cascades
    from sightline.searching.patches import PatchCache
    from sightline.serving.models import Models
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.types import OnProgress


@dataclass(frozen=True)
class CascadeReport:
    """What plans for efforts and numbers of hits are worth, on queries that they were not chosen by.

    Searches use those that passed. ``missing``: why nothing was fitted, in a sentence; None when it was.
    """

    queries: int
    candidates: int
    """Of each query, at most."""
    codec: str | None
    """In which the judged images are stored, and for which the cascade goes."""
    plans: tuple[Plan, ...] = ()
    missing: str | None = None

    @property
    def passed(self) -> bool:
        """Whether a search for ten hits uses it without being told to."""
        return any(plan.passed for plan in self.plans if (plan.effort, plan.top) == ("auto", 10))


class CascadeMeasurement:
    """Judges queries in full and learns from them what a server learns from searches."""

    def __init__(
        self, catalog: Catalog, models: Models, retriever: Retriever, patches: PatchCache, cascades: Cascades
    ) -> None:
        self._catalog = catalog
        self._models = models
        self._retriever = retriever
        self._patches = patches
        self._cascades = cascades

    def report(self, name: str, queries: Sequence[str], most: int, on_progress: OnProgress) -> CascadeReport:
        """Fit a cascade to at most ``most`` queries, or captions when there are none, and keep it.

        Raises:
            NotFoundError: no such collection.
        """
        collection = self._catalog.collection(name)
        model = self._models.encoder(collection)
        if not isinstance(model, StagedMatcher):
            return CascadeReport(0, 0, None, missing="The model cannot stop between its layers.")
        texts = self._texts(collection, queries, most)
        if len(texts) < LEAST_QUERIES:
            return CascadeReport(0, 0, None, missing=_too_few(len(texts), "queries"))
        samples: list[Sample] = []
        first: Candidate | None = None
        salt = uuid.uuid4().hex
        reranker = Reranker(model, self._patches.of(collection, model))
        for number, text in enumerate(texts):
            found = self._candidates(collection, model, text)
            first = first or next(iter(found), None)
            reranker.rerank(
                text, found, 1, effort="full", record=lambda sample: samples.append(sample.salted(salt))
            )
            on_progress("cascade", number + 1, len(texts))
        if first is None or len({one.text for one in samples}) < LEAST_QUERIES:
            what = f"queries with {LEAST_PAIRS} candidates"
            return CascadeReport(len(samples), 0, None, missing=_too_few(len(samples), what))
        learned = self._cascades.learned(collection, first.key)
        most_pairs = max(len(one.itc) for one in samples)
        try:
            cascade = self._cascades.keep(learned, samples, collection.fingerprint)
        except (StorageError, OSError) as error:
            why = f"What was learned cannot be kept: {error}"
            return CascadeReport(len(samples), most_pairs, learned.codec, missing=why)
        return CascadeReport(len(samples), most_pairs, learned.codec, cascade.plans)

    def _texts(self, collection: Collection, queries: Sequence[str], most: int) -> list[str]:
        if not queries:
            keys = self._catalog.filter_keys(collection.id, Filter())
            some = np.random.default_rng(0).permutation(keys)[:most].tolist()
            images = self._catalog.describe(collection.id, some)
            captions = [images[key].caption or "" for key in some if key in images]
            queries = [line for caption in captions for line in caption.splitlines()]
        found = (query.strip() for query in queries)
        return list(dict.fromkeys(query for query in found if query))[:most]

    def _candidates(self, collection: Collection, model: RetrievalModel, text: str) -> Sequence[Candidate]:
        vector = model.encode_text([text])[0].float().cpu().numpy()
        return self._retriever.retrieve(collection.name, vector, MOST_PAIRS).candidates


def _too_few(count: int, what: str) -> str:
    return f"A cascade needs {LEAST_QUERIES} {what} to learn from; there are {count}."
