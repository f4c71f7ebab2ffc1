"""Scoring pictures that came with a request, or that a collection holds, against one text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.blip.calibrated import calibration_of
from sightline.errors import ConflictError, InputError
from sightline.rerank_records import (
    PendingImage,
    RerankDocument,
    RerankRequest,
    RerankResponse,
    RerankResult,
    ScoreRequest,
    ScoreResponse,
    StoredImage,
)
from sightline.reranker.judging import match_scores
from sightline.reranker.records import PatchGroup
from sightline.searching.given_pictures import live_key
from sightline.searching.reading import reading_of
from sightline.searching.reencoding import ENCODE_AT_ONCE

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import RetrievalModel
    from sightline.searching.calibrations import Calibrations
    from sightline.searching.patches import CollectionPatches, PatchCache
    from sightline.serving.models import Models
    from sightline.serving.scheduler import Admission, Scheduler
    from sightline.serving.served import ServedModel, ServedModels
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.types import RGB


@dataclass(frozen=True)
class _Job:
    """What the pairs of one request are scored with."""

    name: str
    model: RetrievalModel
    collections: Mapping[str, Collection]
    sources: dict[str, CollectionPatches]

    def degraded(self) -> tuple[str, ...]:
        """What had to be done without, in sentences."""
        return tuple(sentence for source in self.sources.values() for sentence in source.degraded())


class Documents:
    """Reranks documents. ``served``: the models that requests may name. Thread-safe."""

    def __init__(
        self,
        catalog: Catalog,
        models: Models,
        scheduler: Scheduler,
        patches: PatchCache,
        served: ServedModels,
        calibrations: Calibrations,
    ) -> None:
        self._catalog = catalog
        self._models = models
        self._scheduler = scheduler
        self._patches = patches
        self._served = served
        self._calibrations = calibrations

    def rerank(self, request: RerankRequest) -> RerankResponse:
        """Order documents by falling match probability.

        Raises:
            InputError: no text, no documents, or a model that is not served here.
            NotFoundError: a stored image or its collection does not exist.
            ConflictError: stored images of several models, or of another than the one asked for.
            ImageRejected: a stored image has neither patches nor a readable original.
            UnavailableError: a stored image is not indexed yet, or the model gives no numbers.
            OverloadedError: too many requests wait already.
        """
        if not request.query.strip():
            raise InputError("The query is empty; say what the pictures should show.")
        if request.top_n is not None and request.top_n < 1:
            raise InputError("The parameter top_n must be at least 1.")
        with self._scheduler.admit() as admitted:
            job = self._job(request.model, request.documents, admitted)
            reading = reading_of(job.model, [request.query])
            results: list[RerankResult] = []
            if not reading.nothing_known:
                results = self._results((request.query,), request.documents, job, [bool(reading.unknown)])
            degraded, truncated = job.degraded(), job.model.is_truncated(request.query)
        # The order is that of the softmax, which a calibration must not change.
        best = sorted(results, key=lambda one: (-one.match_probability_raw, one.index))[: request.top_n]
        return RerankResponse(job.name, tuple(best), truncated, degraded, reading.unknown, reading.notes)

    def score(self, request: ScoreRequest) -> ScoreResponse:
        """Score pairs, in their order.

        Raises:
            InputError: no text, one of unknown words only, or texts and documents that make no pairs.
            SightlineError: as `rerank`.
        """
        sizes = len(request.texts), len(request.documents)
        if 0 in sizes or (1 not in sizes and sizes[0] != sizes[1]):
            raise InputError("Give one text, one document, or as many of both.")
        if not all(text.strip() for text in request.texts):
            raise InputError("A text is empty; say what the pictures should show.")
        with self._scheduler.admit() as admitted:
            job = self._job(request.model, request.documents, admitted)
            readings = [reading_of(job.model, [text]) for text in request.texts]
            for index, reading in enumerate(readings):
                if reading.nothing_known:
                    said = reading.notes[0].removesuffix(".")
                    raise InputError(f"Text {index}: {said}.")
            unknown = [bool(one.unknown) for one in readings]
            results = self._results(request.texts, request.documents, job, unknown)
            degraded, truncated = job.degraded(), any(map(job.model.is_truncated, request.texts))
        words = tuple(dict.fromkeys(word for one in readings for word in one.unknown))
        notes = tuple(dict.fromkeys(note for one in readings for note in one.notes))
        return ScoreResponse(job.name, tuple(results), truncated, degraded, words, notes)

    def _job(self, asked: str | None, documents: Sequence[RerankDocument], admitted: Admission) -> _Job:
        collections = self._collections(documents)
        name, bare = self._model(asked, list(collections.values()))
        model = admitted.share(bare)
        sources = {one.name: self._patches.of(one, model) for one in collections.values()}
        return _Job(name, model, collections, sources)

    def _results(
        self, texts: Sequence[str], documents: Sequence[RerankDocument], job: _Job, unknown: Sequence[bool]
    ) -> list[RerankResult]:
        """Of all pairs, in their order. A stored picture's probability is calibrated as searches of its
        collection have it. ``unknown``: of each text, whether it has words that the model does not know."""
        own = {name: self._calibrations.of(one, job.model) for name, one in job.collections.items()}
        default, logits = calibration_of(job.model), self._logits(texts, documents, job)
        results = []
        for pair in range(len(logits)):
            document = documents[pair if len(documents) > 1 else 0]
            chosen = own[document.collection] if isinstance(document, StoredImage) else default
            calibration = chosen.for_query(unknown=unknown[pair if len(texts) > 1 else 0])
            (scored,) = match_scores(logits[pair : pair + 1], calibration)
            results.append(RerankResult(pair, scored.probability, scored.logit, scored.raw))
        return results

    def _collections(self, documents: Sequence[RerankDocument]) -> dict[str, Collection]:
        names = sorted({one.collection for one in documents if isinstance(one, StoredImage)})
        return {name: self._catalog.collection(name) for name in names}

    def _model(self, asked: str | None, collections: Sequence[Collection]) -> tuple[str, RetrievalModel]:
        """The model that all documents agree on, by the name that was asked for or stored."""
        bound = {collection.fingerprint for collection in collections}
        if len(bound) > 1:
            raise ConflictError(
                "The stored images belong to collections of different models; rerank them apart."
            )
        if asked is None and collections:
            return collections[0].model, self._models.encoder(collections[0])
        served = self._served.find(asked)
        if served is None:
            raise InputError(
                f"The model {asked} is not served here; see GET /v1/collections for those that are."
            )
        if not collections:
            return served.model, self._models.load(served.model, served.revision)
        first = collections[0]
        if not self._is(served, first):
            raise ConflictError(f"The stored images were indexed with {first.model}, not with {asked}.")
        return served.model, self._models.encoder(first)

    def _is(self, served: ServedModel, collection: Collection) -> bool:
        """Whether it is the model that a collection is bound to; one that fills another is not looked up."""
        bound = served.bound
        if bound is None:
            identity = self._models.identify(served.model, served.revision)
            return self._models.means(identity, collection.fingerprint)
        named = (bound.model, bound.revision) == (collection.model, collection.revision)
        return named or bound.fingerprint == collection.fingerprint

    def _logits(self, texts: Sequence[str], documents: Sequence[RerankDocument], job: _Job) -> Tensor:
        """ITM logits ``[K,2]`` of the K pairs, in their order, a few documents at a time."""
        import torch

        logits = torch.empty(max(len(texts), len(documents)), 2)
        for start in range(0, len(documents), ENCODE_AT_ONCE):
            chunk = documents[start : start + ENCODE_AT_ONCE]
            for group in self._groups(chunk, job.model, job.sources):
                if len(documents) == 1:  # its patches serve all texts
                    found = [job.model.match([text], group.patches).float().cpu() for text in texts]
                    return torch.cat(found)
                rows = [start + row for row in group.rows]
                theirs = list(texts) if len(texts) == 1 else [texts[row] for row in rows]
                logits[rows] = job.model.match(theirs, group.patches).float().cpu()
        return logits

    def _groups(
        self,
        documents: Sequence[RerankDocument],
        model: RetrievalModel,
        sources: dict[str, CollectionPatches],
    ) -> Iterator[PatchGroup]:
        """Patches of all documents; the rows of a group are positions in ``documents``."""
        import torch

        inline = [row for row, one in enumerate(documents) if not isinstance(one, StoredImage)]
        if inline:
            # One by one: each is made small before the next is decoded.
            pixels = [model.preprocess([_rgb(documents[row])]) for row in inline]
            yield PatchGroup(inline, model.encode_patches(torch.cat(pixels)))
        for name, source in sources.items():
            stored = [
                (row, live_key(self._catalog, one))
                for row, one in enumerate(documents)
                if isinstance(one, StoredImage) and one.collection == name
            ]
            for group in source.patches([key for _, key in stored]) if stored else ():
                yield PatchGroup([stored[row][0] for row in group.rows], group.patches)


def _rgb(document: RerankDocument) -> RGB:
    """The pixels of a picture that came with the request."""
    if isinstance(document, StoredImage):
        raise InputError("A stored image has no pixels of its own here.")
    return document.decode() if isinstance(document, PendingImage) else document.rgb
