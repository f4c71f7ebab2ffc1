"""From named sources to searchable, waited for: one way for `sightline index` and `sightline.Collection`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sightline.errors import SourceError, UnavailableError

if TYPE_CHECKING:
    from sightline.indexer.plan import Plan
    from sightline.indexer.pruning import Confirm
    from sightline.indexer.troubles import Waiting
    from sightline.indexer.uploads import Upload
    from sightline.store.records import Collection, Job
    from sightline.store.work_records import ItemError, Progress
    from sightline.wiring import Installation

POLL_SECONDS = 0.2
PRESENCE_SECONDS = 5.0
MOST_STEPS = 20
"""Passes of the builder after one run in this process, at most: each folds or merges once."""

UPLOADS_AT_ONCE = 500
ERRORS_TOLD = 1000

Announce = Callable[["Collection", int, int], None]
"""Is told the collection, how many images the sources have, and bytes to be copied, before any is read."""


@dataclass(frozen=True)
class Indexed:
    """What became of what was indexed; ``deleted``: pruned. ``errors``: why some failed, the first thousand.

    ``jobs``: ids of the jobs that did it.
    """

    indexed: int = 0
    unchanged: int = 0
    replaced: int = 0
    deleted: int = 0
    failed: int = 0
    errors: tuple[ItemError, ...] = ()
    jobs: tuple[str, ...] = ()

    def __add__(self, other: Indexed) -> Indexed:
        """Both together."""
        names = ("indexed", "unchanged", "replaced", "deleted", "failed", "errors", "jobs")
        return Indexed(**{name: getattr(self, name) + getattr(other, name) for name in names})


def begin(
    services: Installation,
    plan: Plan,
    collection: str,
    model: str | None = None,
    revision: str | None = None,
    before: Callable[[], None] | None = None,
    announce: Announce | None = None,
    confirm: Confirm | None = None,
) -> tuple[Job, int]:
    """Count, make the collection unless it is there, register all; the job, and how many sources failed.

    Nothing is written before all sources were looked at: a wrong name leaves no trace. ``before`` is called
    then, ``announce`` when the collection is there. ``plan`` has no roots.

    Raises:
        SourceError: no source can be listed.
        ModelMismatchError: the collection is bound to another model.
        ModelUnavailableError: the model's files cannot be reached.
        Else as `sightline.Indexer.index`.
    """
    images, size, unlisted = count_sources(services, plan.sources, copy=plan.copy)
    if before is not None:
        before()
    services.claim_folders()
    bound = services.collections.create(collection, model, revision)
    if announce is not None:
        announce(bound, images, size)
    job = services.indexer.index(
        plan.sources, collection, copy=plan.copy, prune=plan.prune, prune_limit=plan.prune_limit,
        id_prefix=plan.id_prefix, moved_from=plan.moved_from, confirm=confirm,
    )  # fmt: skip
    return job, unlisted


def count_sources(services: Installation, sources: Sequence[str], *, copy: bool) -> tuple[int, int, int]:
    """Images, bytes to be copied, and how many sources cannot be listed: the others are indexed all the same.

    Raises SourceError when none of them can be.
    """
    from sightline.indexer.estimate import count

    images = size = 0
    own, fetcher = services.settings.own_folders, services.fetcher
    fetch = None if fetcher is None else fetcher.fetch_patiently
    errors: list[SourceError] = []
    for source in sources:
        try:
            listed = count([source], copy=copy, own=own, fetch=fetch)
        except SourceError as error:
            errors.append(error)
        else:
            images, size = images + listed[0], size + listed[1]
    if sources and len(errors) == len(sources):
        raise errors[0]
    return images, size, len(errors)


def following(services: Installation, job_id: str, turn: Callable[[], None]) -> Iterator[Progress]:
    """Its counts, again and again until it has ended; in between ``turn`` does something, or waits.

    Raises:
        UnavailableError: its workers have met nothing but trouble for a while (a full disk, say).
    """
    from sightline.indexer.troubles import Waiting
    from sightline.store.records import ENDED

    waiting = Waiting(services.settings.indexer.trouble_seconds, services.catalog.probe)
    while True:
        counts = _counts(services, job_id, waiting)
        yield counts
        if counts.state in ENDED:
            return
        waiting.look(counts)
        turn()


class WorkHere:
    """Does what no worker does, in this process: the model that embeds is the one that searches then."""

    def __init__(self, services: Installation) -> None:
        self._services = services
        self._looked = float("-inf")
        self._others = False

    def send(self, task_ids: Sequence[int]) -> None:
        """Tell workers about tasks, where there are any: else nobody would ever read it."""
        if self.others_work():
            self._services.queue(task_ids)

    def others_work(self) -> bool:
        """Whether a worker is running; looked up every few seconds."""
        from sightline.indexer.queue.presence import worker_is_alive

        if time.monotonic() - self._looked >= PRESENCE_SECONDS:
            self._others = worker_is_alive(self._services.catalog)
            self._looked = time.monotonic()
        return self._others

    def index(self, plan: Plan, collection: str, model: str | None = None) -> Indexed:
        """`begin`, and all of it done. Raises as that does."""
        job, _ = begin(self._services, plan, collection, model)
        return self._ended(job.id)

    def add(
        self, uploads: Sequence[Upload], collection: str, model: str | None = None, id_prefix: str = ""
    ) -> Indexed:
        """Pictures whose bytes are at hand; a few hundred at a time are one job. Raises as `begin` does."""
        done, services = Indexed(), self._services
        if uploads:
            services.claim_folders()
            services.collections.create(collection, model)
        for start in range(0, len(uploads), UPLOADS_AT_ONCE):
            some = [_prefixed(one, id_prefix) for one in uploads[start : start + UPLOADS_AT_ONCE]]
            job, _ = services.indexer.add(collection, some)
            done += self._ended(job.id)
        return done

    def _ended(self, job_id: str) -> Indexed:
        """Wait for it, and tell what became of it."""
        for _ in following(self._services, job_id, self.turn):
            pass
        self.tidy()
        found = self._services.catalog.job_report(job_id, ERRORS_TOLD)
        told = found.progress
        return Indexed(
            told.indexed,
            told.unchanged,
            told.replaced,
            told.deleted,
            told.failed,
            tuple(found.errors),
            (job_id,),
        )

    def turn(self) -> None:
        """One batch, or a short rest where another process does it."""
        if self.others_work() or not self._services.indexer.run_pending(most=1):
            time.sleep(POLL_SECONDS)

    def tidy(self) -> None:
        """What a builder would do now, unless one is running: what is new goes into the index."""
        from sightline.indexer.queue.presence import builder_is_alive

        if builder_is_alive(self._services.catalog):
            return
        for _ in range(MOST_STEPS):
            done = self._services.builder.step()
            if done is None or not done.busy:
                return


def _prefixed(upload: Upload, id_prefix: str) -> Upload:
    from sightline.store.blobs import sha256_of

    if not id_prefix:
        return upload
    return replace(upload, image_id=f"{id_prefix}{upload.image_id or sha256_of(upload.opened())}")


def _counts(services: Installation, job_id: str, waiting: Waiting) -> Progress:
    """How far it is. A database that is away for a moment is asked again."""
    from sightline.store.patience import having

    while True:
        try:
            with having("request"):
                return services.catalog.job_progress(job_id)
        except UnavailableError as error:
            waiting.unanswered(error)
            time.sleep(POLL_SECONDS)
