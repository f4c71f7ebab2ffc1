"""The one composition root: from settings to services. Every part is made on first use, once.

So ``sightline collections`` opens a catalog and nothing else, and a test hands in the parts that it wants to
decide.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sightline.lazy import is_made, once

if TYPE_CHECKING:
    from celery import Celery

    from sightline.api.services import ModelStatus, QueueFigures
    from sightline.imaging import IsolatedDecoder
    from sightline.indexer.building.builder import Builder
    from sightline.indexer.codecs import PatchCodecs
    from sightline.indexer.indexer import Indexer
    from sightline.indexer.queue.app import TaskSender
    from sightline.indexer.services import Send
    from sightline.indexer.settings import BrokerSettings
    from sightline.records import RerankRequest, RerankResponse, SearchRequest, SearchResponse
    from sightline.retriever.retriever import Retriever
    from sightline.serving.models import Models
    from sightline.serving.scheduler import Scheduler
    from sightline.serving.warm_up import WarmUp
    from sightline.settings import Settings
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Collection
    from sightline.store.segments import SegmentReader


def build_services(
    settings: Settings,
    *,
    models: Models | None = None,
    catalog: Catalog | None = None,
    send: Send | None = None,
    after_send: Callable[[], None] | None = None,
    inline: bool = False,
    now: Callable[[], float] = time.time,
) -> Services:
    """All parts of an installation.

    ``models``, ``catalog`` and ``send`` replace the real ones, ``now`` the clock; ``after_send`` is called
    whenever workers were told about tasks. ``inline``: there are no workers; ``indexer.wait`` does the work
    in this process.
    """
    return Services(
        settings, models=models, catalog=catalog, send=send, after_send=after_send, inline=inline, now=now
    )


class Services:
    """What the API, the worker, the builder and the command line share. Thread-safe; a context manager."""

    def __init__(
        self,
        settings: Settings,
        *,
        models: Models | None,
        catalog: Catalog | None,
        send: Send | None,
        after_send: Callable[[], None] | None,
        inline: bool,
        now: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self._given_models = models
        self._given_catalog = catalog
        self._given_send = send
        self._after_send = after_send
        self._inline = inline
        self._now = now

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what this holds: the model's thread, decoder processes and database connections."""
        if is_made(self, "scheduler"):
            self.scheduler.close()
        if is_made(self, "decoder"):
            self.decoder.close()
        if is_made(self, "catalog") and self._given_catalog is None:
            self.catalog.close()

    @once
    def catalog(self) -> Catalog:
        """The catalog, migrated to this version's schema."""
        if self._given_catalog is not None:
            return self._given_catalog
        from sightline.store.catalog import open_catalog

        if not self.settings.database_url:
            self.settings.data_folder.mkdir(parents=True, exist_ok=True)
        return open_catalog(self.settings.catalog_url, migrate=True, now=self._now)

    @once
    def blobs(self) -> BlobStore:
        """Copied originals and thumbnails."""
        from sightline.store.blobs import BlobStore

        return BlobStore(self.settings.originals_url)

    @once
    def segments(self) -> SegmentReader:
        """Reads published segments."""
        from sightline.store.segments import SegmentReader

        self.settings.segments_folder.mkdir(parents=True, exist_ok=True)
        return SegmentReader(self.settings.segments_folder)

    @once
    def codecs(self) -> PatchCodecs:
        """The fitted patch codecs that segments name."""
        from sightline.indexer.codecs import PatchCodecs

        return PatchCodecs(self.settings.segments_folder)

    @once
    def decoder(self) -> IsolatedDecoder:
        """Bytes to pixels, in processes of their own that start with the first picture."""
        from sightline.imaging import IsolatedDecoder

        decoding = self.settings.decoding
        return IsolatedDecoder(
            self.settings.imaging, processes=decoding.processes, max_tries=decoding.max_tries
        )

    @once
    def models(self) -> Models:
        """Models by name or collection, each loaded once."""
        if self._given_models is not None:
            return self._given_models
        from sightline.serving.models import ModelProvider

        return ModelProvider(self.settings.model, self.settings.data_folder / "cache" / "digests.json")

    @once
    def scheduler(self) -> Scheduler:
        """The thread that computes for all searches of this process, and the queue in front of it."""
        from sightline.serving.scheduler import Scheduler

        return Scheduler(self.settings.serving)

    @once
    def indexes(self) -> Indexes:
        """The index backends."""
        from sightline.store.backends import open_indexes

        return open_indexes(self.settings.generations_folder, self.settings.retriever.device)

    @once
    def retriever(self) -> Retriever:
        """From a text vector to candidates."""
        from sightline.retriever.retriever import Retriever

        return Retriever(self.catalog, self.segments, self.indexes)

    @property
    def broker(self) -> BrokerSettings:
        """Where messages travel."""
        return self.settings.broker_settings

    @once
    def app(self) -> Celery:
        """The Celery application; opens no connection."""
        from sightline.indexer.queue.app import make_app

        return make_app(self)

    @once
    def queue(self) -> TaskSender:
        """Tells workers about tasks, and how many messages wait."""
        from sightline.indexer.queue.app import TaskSender

        return TaskSender(self.app, self.catalog, self.broker)

    @once
    def indexer(self) -> Indexer:
        """Registers sources and embeds tasks."""
        from sightline.indexer.indexer import Indexer
        from sightline.indexer.services import IndexerServices

        return Indexer(
            IndexerServices(
                catalog=self.catalog,
                blobs=self.blobs,
                segments=self.segments,
                decoder=self.decoder,
                models=self.models,
                settings=self.settings.indexer,
                max_bytes=self.settings.imaging.max_bytes,
                send=None if self._inline else self.send,
            )
        )

    @once
    def builder(self) -> Builder:
        """Folds, merges, sweeps and cleans."""
        from sightline.indexer.building.builder import Builder

        return Builder(
            self.catalog,
            self.blobs,
            self.segments,
            self.indexes,
            self.settings.builder,
            queue=self.queue,
            now=self._now,
            patch_codec=self.settings.indexer.patch_codec,
        )

    def send(self, task_ids: Sequence[int]) -> None:
        """Tell the workers about tasks; raises UnavailableError when the broker cannot be reached."""
        if self._given_send is not None:
            self._given_send(task_ids)
        else:
            self.queue(task_ids)
        if self._after_send is not None:
            self._after_send()

    def create_collection(
        self, name: str, model: str | None = None, revision: str | None = None
    ) -> Collection:
        """Bind a collection to a model (None: the installation's own).

        Raises:
            ModelMismatchError: the collection exists and is bound to another model.
            ModelUnavailableError: the model's files cannot be reached.
        """
        from sightline.serving.collections import create_collection

        return create_collection(self, name, model, revision)

    def search(self, request: SearchRequest) -> SearchResponse:
        """Answer one query; see sightline.searching.search."""
        from sightline.searching.search import search

        return search(self, request)

    def rerank_documents(self, request: RerankRequest) -> RerankResponse:
        """Score documents against a text; see sightline.searching.documents."""
        from sightline.searching.documents import rerank_documents

        return rerank_documents(self, request)

    @once
    def warm_up(self) -> WarmUp:
        """Loads the models of existing collections in the background; started by the server only."""
        from sightline.serving.warm_up import WarmUp

        return WarmUp(self)

    def model_status(self) -> ModelStatus:
        """Whether the models can answer now; never blocks."""
        return self.warm_up.status()

    def queue_figures(self) -> QueueFigures:
        """The queue in front of the model; never blocks."""
        return self.scheduler.figures()
