"""The whole worker step for one task: lease, read, decode, encode, write one segment, publish it.

Nothing is visible before the publishing transaction, which checks that the lease is still ours. So a
worker may die, or sleep through its lease, at any line of this file: somebody else does the task, once.
"""

from __future__ import annotations

import enum
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import LeaseLostError
from sightline.indexer.embedding.batch import Batch, Picture, stacked
from sightline.indexer.embedding.encoding import ModelBatch
from sightline.indexer.embedding.leased_batch import LeasedBatch
from sightline.indexer.heartbeat import Heartbeat
from sightline.indexer.services import IndexerServices
from sightline.store.durable import publish_or_remove
from sightline.store.segments import write_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.records import Image, Lease, NewSegment

log = logging.getLogger(__name__)

THUMBNAIL_WRITERS = 4
"""Threads that write thumbnails while the model works: each waits for its disk or object store."""


class Outcome(enum.Enum):
    PUBLISHED = "published"
    RELEASED = "released"
    """Something unexpected went wrong; the task is ready again."""
    LOST = "lost"
    """Another worker has it, or it was cancelled: what was computed is gone."""
    NOT_OURS = "not ours"
    """Nothing to do: done, cancelled or leased by another."""


class Embedder:
    """Does tasks, one at a time for each thread that calls it."""

    def __init__(self, services: IndexerServices) -> None:
        self._services = services
        self._catalog = services.catalog
        self._settings = services.settings
        self._model_batch = ModelBatch(services.settings.encode_batch)

    def embed(self, task_id: int, owner: str) -> Outcome:
        """Lease the task and do it. Expected trouble ends in an outcome; nothing is raised but what
        stops us too.
        """
        lease = self._catalog.acquire(task_id, owner, self._settings.lease_seconds)
        if lease is None:
            return Outcome.NOT_OURS
        began = time.monotonic()
        try:
            outcome = self._leased(lease)
        except BaseException as error:
            outcome = self._interrupted(lease, error)
        seconds = round(time.monotonic() - began, 3)
        log.info("task %s", outcome.value, extra=_ids(lease) | {"seconds": seconds})
        return outcome

    def _leased(self, lease: Lease) -> Outcome:
        if lease.attempt > self._settings.max_leases:
            return self._give_up(lease, f"{lease.attempt - 1} workers began this batch and none came back.")
        seconds = self._settings.lease_seconds
        heartbeat = Heartbeat(
            lambda: self._catalog.renew(lease, seconds),
            lease=seconds,
            interval=self._settings.heartbeat,
            what=f"task {lease.task_id}",
        )
        with (
            heartbeat,
            ThreadPoolExecutor(THUMBNAIL_WRITERS, "thumbnails") as writers,
            ThreadPoolExecutor(1, "prepare") as preparer,
        ):
            batch = LeasedBatch(
                self._services,
                lease,
                heartbeat,
                preparer=preparer,
                writers=writers,
                model_batch=self._model_batch,
            ).finish()
            return self._publish(lease, batch)

    def _interrupted(self, lease: Lease, error: BaseException) -> Outcome:
        if isinstance(error, LeaseLostError):
            return Outcome.LOST
        if not isinstance(error, Exception):  # told to stop at once: somebody else may begin now
            with suppress(Exception):
                self._catalog.release(lease)
            raise error
        log.exception("a task went wrong", extra=_ids(lease))
        if lease.attempt >= self._settings.max_attempts:
            return self._give_up(lease, f"{type(error).__name__}: {error}")
        time.sleep(self._settings.retry_pause_seconds * 2 ** (lease.attempt - 1))
        self._catalog.release(lease)
        return Outcome.RELEASED

    def _give_up(self, lease: Lease, detail: str) -> Outcome:
        failures = [(image.key, "internal", detail) for image in lease.images]
        return Outcome.PUBLISHED if self._catalog.publish(lease, None, failures) else Outcome.LOST

    def _publish(self, lease: Lease, batch: Batch) -> Outcome:
        rows, failures = batch.outcome()
        segment = self._write(rows, batch.keeping.codec) if rows else None
        sizes = {image.key: (picture.width, picture.height) for image, picture in rows}
        published = publish_or_remove(
            self._services.segments.path(segment),
            lambda: self._catalog.publish(lease, segment, failures, sizes),
        )
        return Outcome.PUBLISHED if published else Outcome.LOST

    def _write(self, rows: Sequence[tuple[Image, Picture]], codec: str) -> NewSegment:
        tokens, (patches, scales) = stacked(rows)
        keys = np.array([image.key for image, _ in rows], np.int64)
        return write_segment(self._services.segments.folder, keys, tokens, patches, codec, scales)


def _ids(lease: Lease) -> dict[str, object]:
    job_id = lease.images[0].job_id if lease.images else None
    return {"task_id": lease.task_id, "job_id": job_id, "attempt": lease.attempt, "images": len(lease.images)}
