"""The facade: from a source to searchable, with or without a queue.

Without one::

    indexer = Indexer(parts)            # parts.send is None
    job = indexer.index(["photos/"], "holiday")
    indexer.run_pending()
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from sightline.errors import ConflictError, InputError, SightlineError, SourceError, StorageError
from sightline.indexer.embedding.embedder import Embedder
from sightline.indexer.names import worker_name
from sightline.indexer.parts import IndexerParts
from sightline.indexer.registration import Plan, Registrar
from sightline.indexer.roots import Roots
from sightline.indexer.tasks import Outcome, TaskRunner
from sightline.indexer.troubles import Waiting
from sightline.indexer.uploads import Upload, UploadLine
from sightline.store.records import EMBED, ENDED, UPLOADED, Registration

if TYPE_CHECKING:
    from sightline.store.records import Job, Progress

log = logging.getLogger(__name__)

PENDING_PAGE = 100


class Indexer:
    """Jobs that bring pictures in, and the worker step that embeds them. Thread-safe."""

    def __init__(self, parts: IndexerParts) -> None:
        self._parts = parts
        self._catalog = parts.catalog
        self._tasks = TaskRunner(parts.catalog, parts.settings, {EMBED: Embedder(parts)})

    # --- sources ----------------------------------------------------------------------------------

    def index(
        self, sources: Sequence[str], collection: str, *, copy: bool = False, prune: bool = False
    ) -> Job:
        """List, hash and register all sources; the workers embed meanwhile. Loads no model.

        Raises:
            NotFoundError: no such collection.
            SourceError: nothing could be listed.
        """
        return self.register(self.begin(sources, collection, copy=copy, prune=prune).id)

    def begin(
        self,
        sources: Sequence[str],
        collection: str,
        *,
        copy: bool = False,
        prune: bool = False,
        roots: Sequence[str] | None = None,
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
                raise InputError(f"{source} lies outside of what this server may read.")
        plan = Plan(tuple(sources), copy, prune, None if roots is None else tuple(roots))
        return self._catalog.create_job(self._catalog.collection(collection).id, "index", plan.to_json())

    def register(self, job_id: str) -> Job:
        """Read the sources of a begun job, register what is new, tell the workers, seal and prune.

        Whatever ends it early, what was registered until then is embedded.
        """
        registrar = Registrar(self._parts, job_id)
        plan = Plan.from_json(self._catalog.job(job_id).request)
        try:
            registrar.register_sources(plan)
            if plan.prune:
                self._prune(job_id, registrar)
        except SourceError as error:
            self._catalog.fail_job(job_id, str(error))
            raise
        except ConflictError:
            if self._catalog.job(job_id).state != "cancelled":
                raise
        except BaseException:
            with suppress(Exception):
                self._catalog.seal_job(job_id)
            raise
        else:
            self._catalog.seal_job(job_id)
        return self._catalog.job(job_id)

    def _prune(self, job_id: str, registrar: Registrar) -> None:
        """Delete what the sources no longer have, unless that is only because they could not be read."""
        if not registrar.whole:
            detail = "Not every source could be listed, so nothing was deleted."
            registrar.fail("(prune)", "", "not-pruned", detail)
        elif not registrar.listed:
            raise SourceError(
                "The source holds no picture at all; to delete everything, delete the collection."
            )
        else:
            self._catalog.prune(job_id)

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
            for index, outcome in zip(accepted, registrar.write(list(accepted.values())), strict=True):
                image_id = accepted[index].image_id
                if isinstance(outcome, InputError):
                    lines[index] = UploadLine(index, image_id, "failed", "unsupported", str(outcome))
                else:
                    lines[index] = UploadLine(index, image_id, outcome)
        except StorageError as error:
            with suppress(SightlineError):
                self._catalog.fail_job(job.id, str(error))
            raise
        finally:
            self._catalog.seal_job(job.id)
        return self._catalog.job(job.id), [lines[index] for index in range(len(uploads))]

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
            sha256 = hashlib.sha256(upload.data).hexdigest()
            image_id = upload.image_id or sha256
            uri = f"blob:{sha256}"
            problem = _upload_problem(upload, image_id in taken)
            taken.add(image_id)
            if problem is None:
                self._parts.blobs.put(upload.data)
                size = len(upload.data)
                given = (upload.caption, upload.metadata, UPLOADED)
                accepted[index] = Registration(image_id, sha256, uri, size, *given)
            else:
                lines[index] = UploadLine(index, image_id, "failed", *problem)
                registrar.fail(f"{image_id}#{index}", uri, *problem)

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
            UnavailableError: whoever works has met nothing but trouble (a full disk, say) for a while; the
            rest waits.
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

    # --- work -------------------------------------------------------------------------------------

    def run_task(self, task_id: int, owner: str) -> bool:
        """The whole worker step for one task; True when this call finished it."""
        return self._tasks.run(task_id, owner) is Outcome.PUBLISHED

    def run_pending(self, *, most: int | None = None) -> int:
        """Do open tasks in this process until none is free (or ``most`` are done); returns how many.

        A disk that takes nothing ends it too: the job's ``detail`` says so.
        """
        owner = worker_name()
        finished = 0
        while most is None or finished < most:
            self._catalog.expire_leases()
            outcomes = []
            for task_id in self._catalog.unsent_tasks(0, PENDING_PAGE):
                outcomes.append(self._tasks.run(task_id, owner))
                finished += outcomes[-1] is Outcome.PUBLISHED
                if finished == most or outcomes[-1] is Outcome.TROUBLED:
                    return finished
            if all(outcome is Outcome.NOT_OURS for outcome in outcomes):
                return finished
        return finished


def _upload_problem(upload: Upload, taken: bool) -> tuple[str, str] | None:
    if not upload.data:
        return "empty", "The file has no bytes."
    if taken:
        return "duplicate", "Another file of this request has the same id."
    return None
