"""The generations of a collection, as they are told to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.store.records import choice_of

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Generation


@dataclass(frozen=True)
class GenerationLine:
    """One generation; ``created_at`` is in UTC seconds.

    ``bytes``: of its files on disk. ``recall``: as measured when it was built (None: it is exact). ``texts``:
    where the sample texts that it learned from came from (None: it learned from none).
    ``why``: a sentence on why it is of this kind (None: nobody said).
    """

    number: int
    kind: str
    serving: bool
    images: int
    bytes: int
    recall: float | None
    created_at: float
    texts: str | None
    why: str | None = None


def list_generations(catalog: Catalog, indexes: Indexes, collection: str) -> list[GenerationLine]:
    """Those of the feature set that serves; first the one that serves. NotFoundError: no such collection."""
    return [
        _line(indexes, generation, serving) for generation, serving in catalog.generations(collection)
    ]  # fmt: skip


def _line(indexes: Indexes, generation: Generation, serving: bool) -> GenerationLine:
    told = generation.parameters
    recall, texts = told.get("recall"), told.get("texts")
    return GenerationLine(
        generation.number, generation.kind, serving, generation.images, _bytes(indexes, generation),
        None if recall is None else float(recall), generation.created_at,
        None if texts is None else str(texts), choice_of(generation).get("why"),
    )  # fmt: skip


def _bytes(indexes: Indexes, generation: Generation) -> int:
    """What its files take that are there; 0 for a kind that is not known here."""
    backend = indexes.backends.get(generation.kind)
    if backend is None:
        return 0
    names = {generation.file, *(str(name) for name in generation.parameters.get("files", ()))}
    paths = [backend.files.folder / name for name in names]
    return sum(path.stat().st_size for path in paths if path.is_file())
