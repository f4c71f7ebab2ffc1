"""The worker step for one task of any kind: lease it, let its handler do it, end the lease.

A handler makes nothing visible before its last transaction, which checks that the lease is still ours. So a
worker may die, or sleep through its lease, at any line: somebody else does the task, once.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from sightline.errors import LeaseLostError
from sightline.faultpoint import faultpoint
from sightline.indexer.heartbeat import Heartbeat

if TYPE_CHECKING:
    from sightline.indexer.settings import IndexerSettings
    from sightline.store.catalog import Catalog
    from sightline.store.records import Lease

log = logging.getLogger(__name__)


class Outcome(enum.Enum):
    PUBLISHED = "published"
    RELEASED = "released"
    """Something unexpected went wrong; the task is ready again."""
    LOST = "lost"
    """Another worker has it, or it was cancelled: what was computed is gone."""
    NOT_OURS = "not ours"
    """Nothing to do: done, cancelled, leased by another, or of a kind that this worker cannot do."""


class Handler(Protocol):
    """Does leased tasks of one kind."""

    def work(self, lease: Lease, heartbeat: Heartbeat) -> bool:
        """Do it and publish what came of it; False, or LeaseLostError, when the lease was lost."""
        ...

    def give_up(self, lease: Lease, detail: str) -> bool:
        """Publish that every image of the task failed, and why; False when the lease was lost."""
        ...


class TaskRunner:
    """Does tasks, one at a time for each thread that calls it.

    ``handlers`` by kind of task; a task of any other kind is left to a worker that has its handler.
    """

    def __init__(self, catalog: Catalog, settings: IndexerSettings, handlers: Mapping[str, Handler]) -> None:
        self._catalog = catalog
        self._settings = settings
        self._handlers = handlers

    def run(self, task_id: int, owner: str) -> Outcome:
        """Lease the task and do it. Expected trouble is an outcome; nothing is raised but what stops us."""
        kinds = self._handlers.keys()
        lease = self._catalog.acquire(task_id, owner, self._settings.lease_seconds, kinds)
        if lease is None:
            return Outcome.NOT_OURS
        faultpoint("embed.leased")
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
        with heartbeat:
            done = self._handlers[lease.kind].work(lease, heartbeat)
        return Outcome.PUBLISHED if done else Outcome.LOST

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
        done = self._handlers[lease.kind].give_up(lease, detail)
        return Outcome.PUBLISHED if done else Outcome.LOST


def _ids(lease: Lease) -> dict[str, object]:
    job_id = lease.images[0].job_id if lease.images else None
    return {"task_id": lease.task_id, "job_id": job_id, "attempt": lease.attempt, "images": len(lease.images)}
