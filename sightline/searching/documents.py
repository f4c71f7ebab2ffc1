"""Scoring pictures that came with a request, or that a collection holds, against one text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sightline.errors import ConflictError, InputError, UnavailableError
from sightline.records import InlineImage, RerankRequest, RerankResponse, RerankResult, StoredImage
from sightline.searching.patches import ENCODE_AT_ONCE, CollectionPatches

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.reranker.records import PatchGroup
    from sightline.serving.models import RetrievalModel
    from sightline.store.records import Collection
    from sightline.wiring import Services


def rerank_documents(services: Services, request: RerankRequest) -> RerankResponse:
    """Order documents by falling match probability.

    Raises:
        InputError: no text, no documents, or a model that is not served here.
        NotFoundError: a stored image or its collection does not exist.
        ConflictError: stored images of several models, or of another than the one asked for.
        ImageRejected: a stored image has neither patches nor a readable original.
        UnavailableError: a stored image is not indexed yet.
        OverloadedError: too many requests wait already.
    """
    if not request.query.strip():
        raise InputError("The query is empty; say what the pictures should show.")
    if request.top_n is not None and request.top_n < 1:
        raise InputError("The parameter top_n must be at least 1.")
    with services.scheduler.admit() as admitted:
        collections = _collections(services, request.documents)
        name, bare = _model(services, request.model, list(collections.values()))
        model = admitted.share(bare)
        logits = _logits(services, request, model, collections)
    probabilities = logits.double().softmax(dim=1)[:, 1].tolist()
    results = [RerankResult(i, p, float(logits[i, 1])) for i, p in enumerate(probabilities)]
    results.sort(key=lambda one: (-one.match_probability, one.index))
    return RerankResponse(name, tuple(results[: request.top_n]), model.is_truncated(request.query))


def served_models(services: Services) -> set[str]:
    """The installation's own model, the shipped one, and every model that some collection is bound to."""
    bound = {collection.model for collection in services.catalog.collections()}
    return {services.settings.model.name, "demo"} | bound


def _collections(services: Services, documents: Sequence[InlineImage | StoredImage]) -> dict[str, Collection]:
    names = sorted({one.collection for one in documents if isinstance(one, StoredImage)})
    return {name: services.catalog.collection(name) for name in names}


def _model(
    services: Services, asked: str | None, collections: Sequence[Collection]
) -> tuple[str, RetrievalModel]:
    """The model that all documents agree on, by the name that was asked for or stored."""
    bound = {collection.fingerprint for collection in collections}
    if len(bound) > 1:
        raise ConflictError("The stored images belong to collections of different models; rerank them apart.")
    if asked is not None and asked not in served_models(services):
        raise InputError(f"The model {asked} is not served here; see GET /v1/collections for those that are.")
    if not collections:
        name = asked or services.settings.model.name
        return name, services.models.load(name, _revision(services, name))
    first = collections[0]
    wanted = services.models.identify(asked, _revision(services, asked)) if asked is not None else None
    if wanted is not None and wanted.fingerprint not in bound:
        raise ConflictError(f"The stored images were indexed with {first.model}, not with {asked}.")
    return asked or first.model, services.models.encoder(first)


def _revision(services: Services, name: str) -> str | None:
    return services.settings.model.revision if name == services.settings.model.name else None


def _logits(
    services: Services, request: RerankRequest, model: RetrievalModel, collections: dict[str, Collection]
) -> Tensor:
    """ITM logits ``[K,2]`` in the order of the documents, a few documents at a time."""
    import torch

    sources = {name: CollectionPatches(services, one, model) for name, one in collections.items()}
    logits = torch.empty(len(request.documents), 2)
    for start in range(0, len(request.documents), ENCODE_AT_ONCE):
        chunk = request.documents[start : start + ENCODE_AT_ONCE]
        for group in _groups(services, chunk, model, sources):
            rows = [start + row for row in group.rows]
            logits[rows] = model.match([request.query], group.patches).float().cpu()
    return logits


def _groups(
    services: Services,
    documents: Sequence[InlineImage | StoredImage],
    model: RetrievalModel,
    sources: dict[str, CollectionPatches],
) -> Iterator[PatchGroup]:
    """Patches of all documents; the rows of a group are positions in ``documents``."""
    from sightline.reranker.records import PatchGroup

    inline = [(row, one.rgb) for row, one in enumerate(documents) if isinstance(one, InlineImage)]
    if inline:
        patches = model.encode_patches(model.preprocess([rgb for _, rgb in inline]))
        yield PatchGroup([row for row, _ in inline], patches)
    for name, source in sources.items():
        stored = [
            (row, _key(services, one))
            for row, one in enumerate(documents)
            if isinstance(one, StoredImage) and one.collection == name
        ]
        for group in source.patches([key for _, key in stored]) if stored else ():
            yield PatchGroup([stored[row][0] for row in group.rows], group.patches)


def _key(services: Services, document: StoredImage) -> int:
    """The key of a stored image that is ready to be scored."""
    image = services.catalog.image(document.collection, document.id)
    if image.state != "live":
        raise UnavailableError(
            f"Image {document.id} of {document.collection} is not indexed yet ({image.state})."
        )
    return image.key
