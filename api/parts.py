"""What the HTTP application is made of; the roof wires it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sightline.api.settings import ApiSettings
    from sightline.captioner.capfilt import CapFilt
    from sightline.captioner.captioning import Captioning
    from sightline.captioner.describing import Describing
    from sightline.fetching.client import Fetcher
    from sightline.imaging import Decoded
    from sightline.imaging.limits import Allowance
    from sightline.indexer.building.purging import Purging
    from sightline.indexer.indexer import Indexer
    from sightline.indexer.originals import Originals
    from sightline.searching.asking import Asking
    from sightline.searching.documents import Documents
    from sightline.searching.duplicates import Duplicates
    from sightline.searching.saved_searches import SavedSearches
    from sightline.searching.search import Search
    from sightline.serving.collections import Collections
    from sightline.serving.index_kinds import IndexKinds
    from sightline.serving.queue import QueueFigures
    from sightline.serving.served import ServedModels
    from sightline.serving.warm_up import ModelStatus
    from sightline.serving.writers import WriterNames
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.records import Snapshot


class Decoder(Protocol):
    """Bytes to RGB in an isolated process; raises ImageRejected."""

    def decode(self, data: bytes, allowance: Allowance) -> Decoded: ...


@dataclass(frozen=True)
class ApiParts:
    """Every part that some route uses."""

    settings: ApiSettings
    max_waiting: int
    """Requests that may wait for the model."""
    catalog: Catalog
    blobs: BlobStore
    originals: Originals
    decoder: Decoder
    """For pictures that come with a request, and for nothing else."""
    fetcher: Fetcher | None
    """None: pictures on the web are not fetched."""
    indexer: Indexer
    purging: Purging
    collections: Collections
    index_kinds: IndexKinds
    served: ServedModels
    search: Search
    duplicates: Duplicates
    documents: Documents
    asking: Asking
    describing: Describing
    writer_names: WriterNames
    """Which model writes where a request names none."""
    captioning: Captioning
    capfilt: CapFilt
    saved_searches: SavedSearches
    list_written: Callable[[str], object]
    """Lists the images of a job of the captioner's kinds, by its id."""
    model_status: Callable[[], ModelStatus]
    """Whether the models can answer now; never blocks: asked by /readyz every few seconds."""
    degraded: Callable[[Snapshot], tuple[str, ...]]
    """What searches of a collection have to do without, in sentences; opens no file."""
    queue_figures: Callable[[], QueueFigures]
    """The queue in front of the model; never blocks."""
    worker_counts: Callable[[], Mapping[str, Mapping[str, float]]]
    """What running workers counted, by their names: ``embed_wait_seconds`` and ``embed_busy_seconds``."""
