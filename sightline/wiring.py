"""The one composition root: from settings to an installation's parts. Every part is made on first use, once.

So ``sightline collections`` opens a catalog and nothing else, and a test hands in what it wants to decide.
The other floors: `sightline.pillars`, `sightline.keeping` (bytes are safe), `sightline.answering`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sightline.lazy import is_made, once
from sightline.pillars import Given
from sightline.saving import Saving

if TYPE_CHECKING:
    from celery import Celery

    from sightline.api.parts import ApiParts
    from sightline.captioner.capfilt import CapFilt
    from sightline.captioner.captioning import Captioning
    from sightline.captioner.listing import JobListing
    from sightline.fetching.network import Resolve
    from sightline.imaging import IsolatedDecoder
    from sightline.indexer.building.builder import Builder
    from sightline.indexer.indexer import Indexer
    from sightline.indexer.parts import Send
    from sightline.indexer.queue.app import TaskSender
    from sightline.indexer.queue.work import Work
    from sightline.indexer.resuming import Resumption
    from sightline.serving.collections import Collections
    from sightline.serving.models import Models
    from sightline.settings import Settings
    from sightline.store.catalog import Catalog
    from sightline.store.worker_notes import WorkerNote
    from sightline.upkeep.consistency import Consistency
    from sightline.upkeep.doctor import Doctor
    from sightline.upkeep.index_sync import IndexSync
    from sightline.upkeep.repair import Repair


def open_installation(
    settings: Settings,
    *,
    models: Models | None = None,
    catalog: Catalog | None = None,
    decoder: IsolatedDecoder | None = None,
    send: Send | None = None,
    after_send: Callable[[], None] | None = None,
    inline: bool = False,
    now: Callable[[], float] | None = None,
    resolve: Resolve | None = None,
    create: bool = True,
) -> Installation:
    """All parts of an installation; a context manager that gives back what they hold.

    ``models``, ``catalog``, ``decoder`` and ``send`` replace the real ones, ``now`` the database's clock,
    ``resolve`` the system's resolver; ``after_send`` is called whenever workers were told about tasks.
    ``inline``: no workers; ``indexer.wait`` does their work. Without ``create`` no catalog is made.
    """
    given = Given(
        models=models, catalog=catalog, decoder=decoder, send=send, after_send=after_send, inline=inline,
        now=now, resolve=resolve, create=create,
    )  # fmt: skip
    return Installation(settings, given)


class Installation(Saving):
    """What the API, the worker, the builder and the command line take their parts from. Thread-safe."""

    def __enter__(self) -> Installation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what this made: the model's thread, decoder processes and database connections."""
        if is_made(self, "document_decoder") and self.given.decoder is None:
            self.document_decoder.close()
        super().close()

    # from sources to searchable

    @once
    def app(self) -> Celery:
        """The Celery application; opens no connection."""
        from sightline.indexer.queue.app import make_app

        # The indexer is made when the first task runs: whoever only sends needs no model.
        return make_app(self.settings.broker_settings, lambda task_id: self.work.message(task_id))

    @once
    def work(self) -> Work:
        """What a worker process does, one batch at a time."""
        from sightline.indexer.queue.stopping import told_to_stop
        from sightline.indexer.queue.work import Work

        return Work(self.catalog, self.indexer.tasks, self.settings.indexer.look_seconds, told_to_stop)

    @once
    def queue(self) -> TaskSender:
        """Tells workers about tasks, and how many messages wait."""
        from sightline.indexer.queue.app import TaskSender

        return TaskSender(self.app, self.catalog, self.settings.broker_settings)

    @once
    def collections(self) -> Collections:
        """Makes collections and binds them to models."""
        from sightline.serving.collections import Collections

        return Collections(self.catalog, self.models, self.settings.model)

    @once
    def indexer(self) -> Indexer:
        """Registers sources and embeds tasks."""
        from sightline.captioner.tasks import handlers
        from sightline.indexer.embedding.text_sampling import TextSampling
        from sightline.indexer.indexer import Indexer
        from sightline.indexer.parts import IndexerParts
        from sightline.indexer.queue.stopping import told_to_stop

        self.claim_folders()
        parts = IndexerParts(
            catalog=self.catalog,
            blobs=self.blobs,
            originals=self.originals,
            segments=self.segments,
            formats=self.formats,
            decoder=self.decoder,
            models=self.models,
            settings=self.settings.indexer,
            max_bytes=self.settings.imaging.max_bytes,
            own_folders=self.settings.own_folders,
            fetcher=self.fetcher,
            measured=self.measured,
            codec_choice=self.codec_choice,
            note=self.worker_note,
            decoders=self.settings.decoding.processes,
            send=None if self.given.inline else self.send,
        )
        sampling = TextSampling(
            parts,
            self.sample_texts,
            told_to_stop,
            keeps_queries=self.settings.retriever.keep_queries,
        )
        return Indexer(parts, handlers(self.captioner_parts), sampling)

    @once
    def worker_note(self) -> WorkerNote:
        """What this process says of itself while it is a worker."""
        from sightline.store.worker_notes import WorkerNote

        return WorkerNote(self.settings.workers_folder)

    @once
    def resumption(self) -> Resumption:
        """Takes up listings of API servers that died; started by the server only."""
        from sightline.indexer.resuming import Resumption

        roots, seconds = self.settings.api.source_roots, self.settings.indexer.lease_seconds
        return Resumption(self.catalog, self.indexer.register, roots, seconds)

    @once
    def builder(self) -> Builder:
        """Folds, merges, sweeps and cleans."""
        from sightline.captioner.plans import CAPFILT, CAPTION
        from sightline.indexer.building.builder import Builder

        self.claim_folders()
        return Builder(
            self.catalog,
            self.blobs,
            self.segments,
            self.indexes,
            self.formats,
            self.settings.builder_settings,
            queue=self.queue,
            patch_codec=self.settings.indexer.patch_codec,
            listers=dict.fromkeys((CAPTION, CAPFILT), self.job_listing.list),
            index=self.settings.index_settings,
            texts=self.sample_texts,
        )

    # from an image to words

    @once
    def job_listing(self) -> JobListing:
        """From a begun job that writes or judges to its tasks."""
        from functools import partial

        from sightline.captioner.listing import JobListing
        from sightline.indexer.resuming import listing_lease

        lease = partial(listing_lease, self.catalog, seconds=self.settings.indexer.lease_seconds)
        return JobListing(self.catalog, lease, None if self.given.inline else self.send)

    @once
    def captioning(self) -> Captioning:
        """Begins jobs that write captions."""
        from sightline.captioner.captioning import Captioning

        return Captioning(self.catalog, self.models, self.job_listing)

    @once
    def capfilt(self) -> CapFilt:
        """Begins jobs that filter texts, and reports on them."""
        from sightline.captioner.capfilt import CapFilt

        return CapFilt(self.catalog, self.models, self.patches, self.job_listing)

    def send(self, task_ids: Sequence[int]) -> None:
        """Tell the workers about tasks; raises UnavailableError when the broker cannot be reached."""
        if self.given.send is not None:
            self.given.send(task_ids)
        else:
            self.queue(task_ids)
        if self.given.after_send is not None:
            self.given.after_send()

    # HTTP

    @once
    def document_decoder(self) -> IsolatedDecoder:
        """Decodes what requests bring; stored pictures never wait for it, nor it for them."""
        return self.given.decoder or self.decoders(self.settings.api.decoders)

    @once
    def api_parts(self) -> ApiParts:
        """What the HTTP application is made of."""
        from functools import partial

        from sightline.api.parts import ApiParts
        from sightline.store.worker_notes import worker_counts

        return ApiParts(
            settings=self.settings.api,
            max_waiting=self.settings.serving.max_waiting,
            catalog=self.catalog,
            blobs=self.blobs,
            originals=self.originals,
            decoder=self.document_decoder,
            fetcher=self.fetcher,
            indexer=self.indexer,
            purging=self.purging,
            collections=self.collections,
            index_kinds=self.index_kinds,
            served=self.served,
            search=self.search,
            duplicates=self.duplicates,
            documents=self.documents,
            asking=self.asking,
            describing=self.describing,
            writer_names=self.writer_names,
            captioning=self.captioning,
            capfilt=self.capfilt,
            saved_searches=self.saved_searches,
            list_written=self.job_listing.list,
            model_status=self.warm_up.status,
            degraded=self.retriever.degraded,
            queue_figures=self.scheduler.figures,
            worker_counts=partial(worker_counts, self.settings.workers_folder),
        )

    # upkeep

    @once
    def consistency(self) -> Consistency:
        """Whether catalog, segments and index say the same."""
        from sightline.upkeep.consistency import Consistency

        return Consistency(self.catalog, self.segments, self.indexes, self.formats)

    @once
    def index_sync(self) -> IndexSync:
        """Makes a remote index agree with the catalog again."""
        from sightline.upkeep.index_sync import IndexSync

        self.claim_folders()
        return IndexSync(self.catalog, self.segments, self.indexes, self.builder.refold)

    @once
    def doctor(self) -> Doctor:
        """Looks at everything; opens what it looks at one after the other."""
        from sightline.settings import unknown_variables
        from sightline.upkeep.doctor import Doctor

        return Doctor(self.settings, self, unknown_variables())

    @once
    def repair(self) -> Repair:
        """Makes lost and damaged segments and generations again."""
        from sightline.upkeep.remaking import Remaking
        from sightline.upkeep.repair import Repair

        self.claim_folders()
        remaking = Remaking(self.segments, self.formats, self.models, self.reencoding, self.indexes)
        return Repair(self.catalog, self.segments, self.indexes, remaking, self.builder.refold)
