"""The facade: from a source to searchable, with or without a queue.

Without one::

    indexer = Indexer(parts)            # parts.send is None
    job = indexer.index(["photos/"], "holiday")
    indexer.run_pending()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sightline.errors import ImageRejected, InputError, SightlineError, StorageError
from sightline.indexer.embedding.embedder import Embedder
from sightline.indexer.names import worker_name
from sightline.indexer.parts import IndexerParts
from sightline.indexer.plan import Plan, check_plan, moved_address
from sightline.indexer.previewing import Preview, preview
from sightline.indexer.pruning import Confirm
from sightline.indexer.queue.presence import unattended
from sightline.indexer.registration import Registrar
from sightline.indexer.resuming import listing_lease
from sightline.indexer.roots import OUTSIDE, Roots
from sightline.indexer.source_listing import SourceListing
from sightline.indexer.tasks import Handler, Outcome, Sampling, TaskRunner
from sightline.indexer.troubles import Waiting
from sightline.indexer.uploads import Upload, UploadLine, upload_problem
from sightline.store.blobs import sha256_of
from sightline.store.records import COPIED, EMBED, ENDED, UPLOADED
from sightline.store.told import check_told
from sightline.store.work_records import Registration

if TYPE_CHECKING:
    from sightline.store.records import Job
    from sightline.store.work_records import Progress


class Indexer:
    """Jobs that bring pictures in, and the worker step that embeds them. Thread-safe."""

    def __init__(
        self,
        parts: IndexerParts,
        handlers: Mapping[str, Handler] | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        """``handlers``: of other kinds of tasks than those that embed. ``sampling``: see `TaskRunner`."""
        self._parts = parts
        self._catalog = parts.catalog
        known: dict[str, Handler] = {EMBED: Embedder(parts), **(handlers or {})}
        self.tasks = TaskRunner(parts.catalog, parts.settings, known, sampling)

    # --- sources ----------------------------------------------------------------------------------

    def index(
        self,
        sources: Sequence[str],
        collection: str,
        *,
        copy: bool = False,
        prune: bool = False,
        prune_limit: str | None = None,
        id_prefix: str = "",
        moved_from: str | None = None,
        confirm: Confirm | None = None,
        only: Sequence[str] = (),
    ) -> Job:
        """List, hash and register all sources; the workers embed meanwhile. Loads no model.

        ``prune`` moves what each source no longer has to the trash: up to ``prune_limit`` (``N`` or ``N%``;
        20 % and 100 images when not given) unasked, beyond it when ``confirm`` says so. ``id_prefix`` stands
        before every id. ``moved_from``: the one source is what was known under that address. ``only``: names
        below the one source, a folder; nothing else of it is looked at or pruned.

        Raises:
            NotFoundError: no such collection.
            InputError: options that contradict each other or what is stored.
            SourceError: nothing could be listed.
        """
        job = self.begin(
            sources,
            collection,
            copy=copy,
            prune=prune,
            prune_limit=prune_limit,
            id_prefix=id_prefix,
            moved_from=moved_from,
            only=only,
        )
        return self.register(job.id, confirm)

    def begin(
        self,
        sources: Sequence[str],
        collection: str,
        *,
        copy: bool = False,
        prune: bool = False,
        prune_limit: str | None = None,
        id_prefix: str = "",
        moved_from: str | None = None,
        roots: Sequence[str] | None = None,
        only: Sequence[str] = (),
    ) -> Job:
        """A job in state ``registering`` that nothing was read for yet; ``register`` does the reading.

        With ``roots`` every single item must lie below one of them, symlinks followed: a link or a
        manifest must not lead out. What does is a failure line with the reason ``forbidden``.
        """
        if not sources:
            raise InputError("No source was given; name a file, a folder, an archive or a manifest.")
        allowed = Roots(roots)
        for source in sources:
            if not allowed.allow(source):
                raise InputError(f"{source} cannot be read: {OUTSIDE}.")
        plan = Plan(
            tuple(sources),
            copy,
            prune,
            prune_limit,
            id_prefix,
            None if moved_from is None else moved_address(moved_from),
            None if roots is None else tuple(roots),
            tuple(only),
        )
        check_plan(plan, collection, self._catalog.sources(collection))
        return self._catalog.create_job(self._catalog.collection(collection).id, "index", plan.to_json())

    def preview(
        self,
        sources: Sequence[str],
        collection: str,
        *,
        prune_limit: str | None = None,
        id_prefix: str = "",
        moved_from: str | None = None,
    ) -> list[Preview]:
        """What ``index`` would list and ``prune`` take, for each source. Changes nothing."""
        moved = None if moved_from is None else moved_address(moved_from)
        plan = Plan(tuple(sources), prune_limit=prune_limit, id_prefix=id_prefix, moved_from=moved)
        check_plan(plan, collection, self._catalog.sources(collection))
        return preview(self._parts, collection, plan)

    def register(self, job_id: str, confirm: Confirm | None = None) -> Job:
        """Read the sources of a begun job, register what is new, tell the workers, seal and prune.

        ``confirm`` is asked before more is pruned than may be unasked. Whatever ends it early, what was
        registered until then is embedded, and the job says that it ended so. A job whose process died while
        it listed may be registered again: nothing is counted twice.

        Raises:
            ConflictError: another process lists the job's sources now.
            LeaseLostError: another process took over.
        """
        with listing_lease(self._catalog, job_id, self._parts.settings.lease_seconds) as heartbeat:
            registrar = Registrar(self._parts, job_id, heartbeat.check)
            SourceListing(self._catalog, job_id, registrar, confirm).run()
        return self._catalog.job(job_id)

    # --- uploads ----------------------------------------------------------------------------------

    def add(self, collection: str, uploads: Sequence[Upload]) -> tuple[Job, list[UploadLine]]:
        """Keep the bytes, register them, tell the workers; one line for each upload, in order.

        Raises:
            StorageError: the bytes cannot be kept; then nothing of this upload is.
        """
        request = {"uploads": len(uploads)}
        job = self._catalog.create_job(self._catalog.collection(collection).id, "upload", request)
        registrar = Registrar(self._parts, job.id)
        lines: dict[int, UploadLine] = {}
        accepted: dict[int, Registration] = {}
        try:
            self._accept(uploads, registrar, lines, accepted)
            outcomes = registrar.write(list(accepted.values()))
            registrar.flush()
            for index, outcome in zip(accepted, outcomes, strict=True):
                self._keep(uploads[index], accepted[index].sha256)
                image_id = accepted[index].image_id
                if isinstance(outcome, ImageRejected):
                    lines[index] = UploadLine(index, image_id, "failed", outcome.reason, outcome.detail)
                elif isinstance(outcome, InputError):
                    lines[index] = UploadLine(index, image_id, "failed", "unsupported", str(outcome))
                elif outcome == "unchanged":
                    lines[index] = UploadLine(index, image_id, "unchanged")
                else:
                    lines[index] = UploadLine(index, image_id, "pending")
        except StorageError as error:
            with suppress(SightlineError):
                self._catalog.fail_job(job.id, str(error))
            raise
        finally:
            self._catalog.seal_job(job.id)
        return self._catalog.job(job.id), [lines[index] for index in range(len(uploads))]

    def _keep(self, upload: Upload, sha256: str) -> None:
        """Again, now that a row names it: a picture with the same bytes may have been purged in between."""
        if not self._parts.blobs.has(sha256):
            self._parts.blobs.put_file(upload.opened())

    def _accept(
        self,
        uploads: Sequence[Upload],
        registrar: Registrar,
        lines: dict[int, UploadLine],
        accepted: dict[int, Registration],
    ) -> None:
        """Copy into our store what has bytes and an id of its own; a failed line for the rest."""
        taken: set[str] = set()
        for index, upload in enumerate(uploads):
            sha256 = sha256_of(upload.opened())
            image_id = upload.image_id or sha256
            uri = f"{COPIED}{sha256}"
            problem = upload_problem(
                upload, image_id, image_id in taken, self._parts.settings.max_metadata_bytes
            )
            taken.add(image_id)
            if problem is None:
                self._parts.blobs.put_file(upload.opened())
                size = upload.size()
                given = (upload.caption, upload.metadata, UPLOADED)
                accepted[index] = Registration(image_id, sha256, uri, size, *given)
            else:
                lines[index] = UploadLine(index, image_id, "failed", *problem)
                registrar.fail(f"{image_id}#{index}", uri, *problem)

    def check_told(self, image_id: str, caption: str | None, metadata: Mapping[str, Any]) -> None:
        """Raises InputError for more metadata, or a longer caption, than one picture may have."""
        check_told(image_id, caption, metadata, self._parts.settings.max_metadata_bytes)

    # --- jobs -------------------------------------------------------------------------------------

    def retry(self, job_id: str) -> Job:
        """Embed the failed images of a job again."""
        task_ids = self._catalog.retry_job(job_id, self._parts.settings.batch_size)
        Registrar(self._parts, job_id).send(task_ids)
        return self._catalog.job(job_id)

    def wait(
        self,
        job_id: str,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Progress:
        """Until the job has ended (or the timeout has); without a queue, do the work here.

        ``on_progress`` is called whenever the counts changed, and once at the end.

        Raises:
            UnavailableError: whoever works has met nothing but trouble (a full disk, say) for a while;
                the rest waits.
        """
        waiting = Waiting(self._parts.settings.trouble_seconds, self._catalog.probe)
        until = None if timeout is None else time.monotonic() + timeout
        last: Progress | None = None
        while True:
            if self._parts.send is None:
                self.run_pending(most=1)
            progress = self._catalog.job_progress(job_id)
            if progress != last and on_progress is not None:
                on_progress(progress)
            if progress.state in ENDED or (until is not None and time.monotonic() >= until):
                return progress
            waiting.look(progress)
            if progress == last:
                time.sleep(self._parts.settings.poll_seconds)
            last = progress

    def unattended(self) -> str | None:
        """A sentence when work has waited for long and nobody does it; None when all is well."""
        return unattended(self._catalog, self._parts.settings.waiting_seconds)

    # --- work -------------------------------------------------------------------------------------

    def run_pending(self, *, most: int | None = None) -> int:
        """Do open tasks in this process until none is free (or ``most`` are done); returns how many.

        A disk that takes nothing ends it too: the job's ``detail`` says so.
        """
        owner = worker_name()
        finished = 0
        while most is None or finished < most:
            self._catalog.expire_leases()
            outcome = self.tasks.run_next(owner)
            finished += outcome is Outcome.PUBLISHED
            if outcome in (Outcome.TROUBLED, Outcome.NOT_OURS):
                break
        return finished
