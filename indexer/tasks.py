"""The worker step for one task of any kind: lease it, let its handler do it, end the lease.

A handler makes nothing visible before its last transaction, which checks that the lease is still ours. So a
worker may die, or sleep through its lease, at any line: somebody else does the task, once.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from sightline.errors import LeaseLostError, SightlineError
from sightline.faultpoint import faultpoint
from sightline.indexer.heartbeat import Heartbeat, Pulse
from sightline.indexer.troubles import Troubles, trouble_of

if TYPE_CHECKING:
    from sightline.indexer.settings import IndexerSettings
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection as Record
    from sightline.store.work_records import Lease

log = logging.getLogger(__name__)


class Outcome(enum.Enum):
    PUBLISHED = "published"
    RELEASED = "released"
    """Something unexpected went wrong; the task is ready again."""
    TROUBLED = "troubled"
    """The surroundings did not let it be done (a full disk, say); the task is ready again."""
    LOST = "lost"
    """Another worker has it, or it was cancelled: what was computed is gone."""
    SPLIT = "split"
    """It failed too often as a whole; its halves are ready."""
    NOT_OURS = "not ours"
    """Nothing to do: done, cancelled, leased by another, or of a kind that this worker cannot do."""


class Handler(Protocol):
    """Does leased tasks of one kind."""

    def work(self, lease: Lease, heartbeat: Heartbeat) -> bool:
        """Do it and publish what came of it; False, or LeaseLostError, when the lease was lost."""
        ...

    def give_up(self, lease: Lease, reason: str, detail: str) -> bool:
        """Publish that every image of the task failed, and why; False when the lease was lost."""
        ...


class Sampling(Protocol):
    """Keeps the sample texts of collections; `indexer.embedding.text_sampling.TextSampling` is one."""

    def tend(self, collection: Record, pulse: Pulse) -> None: ...

    def tend_all(self, pulse: Pulse) -> None: ...


class TaskRunner:
    """Does tasks, one at a time for each thread that calls it.

    ``handlers`` by kind of task; a task of any other kind is left to a worker that has its handler.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: IndexerSettings,
        handlers: Mapping[str, Handler],
        sampling: Sampling | None = None,
    ) -> None:
        """``sampling``: what to look at after a task, and when there is none."""
        self._catalog = catalog
        self._settings = settings
        self._handlers = handlers
        self._troubles = Troubles(catalog, settings.retry_pause_seconds)
        self._sampling = sampling
        self._in_hand: dict[int, Lease] = {}
        self._kinds = tuple(handlers)
        """The kind that was done last stands last."""
        self.pulse = Pulse()
        """Beats whenever any of its tasks gets on."""

    @property
    def kinds(self) -> Collection[str]:
        """What it can do."""
        return self._handlers.keys()

    def run(self, task_id: int, owner: str) -> Outcome:
        """Lease the task and do it. Expected trouble is an outcome; nothing is raised but what stops us."""
        return self._done(self._catalog.acquire(task_id, owner, self._settings.lease_seconds, self.kinds))

    def run_next(self, owner: str) -> Outcome:
        """As `run`, the task whose turn it is; ``NOT_OURS`` when none is ready that this worker can do."""
        lease = self._catalog.acquire_next(owner, self._settings.lease_seconds, self._kinds)
        if lease is not None:
            self._kinds = (*(kind for kind in self._kinds if kind != lease.kind), lease.kind)
        return self._done(lease)

    def _done(self, lease: Lease | None) -> Outcome:
        if lease is None:
            return Outcome.NOT_OURS
        faultpoint("embed.leased")
        began = time.monotonic()
        self._in_hand[lease.task_id] = lease
        try:
            outcome = self._leased(lease)
        except BaseException as error:
            outcome = self._interrupted(lease, error)
        finally:
            self._in_hand.pop(lease.task_id, None)
        if outcome is Outcome.LOST:
            with suppress(Exception):
                self._catalog.survived(lease)
        seconds = round(time.monotonic() - began, 3)
        log.info("task %s", outcome.value, extra=_ids(lease) | {"seconds": seconds})
        if outcome is Outcome.PUBLISHED and self._sampling is not None:
            self._sampling.tend(lease.collection, self.pulse)
        return outcome

    def idle(self) -> None:
        """There is no task: time for what can wait."""
        if self._sampling is not None:
            self._sampling.tend_all(self.pulse)

    def give_back(self) -> None:
        """This process ends now, whatever it has in hand: others may begin with that at once."""
        for lease in list(self._in_hand.values()):
            with suppress(Exception):
                self._catalog.release(lease)

    def _leased(self, lease: Lease) -> Outcome:
        most = self._settings.split_deaths if len(lease.images) > 1 else self._settings.max_deaths
        if lease.images and lease.deaths >= most:
            detail = f"{lease.deaths} workers in a row died while they had this picture in hand."
            return self._halve(lease, "worker_died", detail)
        seconds = self._settings.lease_seconds
        heartbeat = Heartbeat(
            lambda: self._catalog.renew(lease, seconds),
            lease=seconds,
            interval=self._settings.heartbeat,
            what=f"task {lease.task_id}",
            stall=self._settings.stall_seconds,
            pulse=self.pulse,
        )
        with heartbeat:
            done = self._handlers[lease.kind].work(lease, heartbeat)
        self._troubles.over()
        return Outcome.PUBLISHED if done else Outcome.LOST

    def _interrupted(self, lease: Lease, error: BaseException) -> Outcome:
        if isinstance(error, LeaseLostError):
            return Outcome.LOST
        if not isinstance(error, Exception):  # told to stop at once: somebody else may begin now
            with suppress(Exception):
                self._catalog.release(lease)
            raise error
        sentence = trouble_of(error)
        if sentence is not None:
            return self._troubled(lease, sentence)
        log.exception("a task went wrong", extra=_ids(lease))
        if lease.errors + 1 >= self._settings.max_attempts:
            return self._halve(lease, "internal", f"{type(error).__name__}: {error}")
        time.sleep(self._settings.retry_pause_seconds * 2**lease.errors)
        self._catalog.release(lease, error=True)
        return Outcome.RELEASED

    def _troubled(self, lease: Lease, sentence: str) -> Outcome:
        """Not the pictures' fault: given back as if nobody had tried, and tried again after a rest."""
        self._troubles.tell([lease.job_id], sentence)
        with suppress(SightlineError):  # else the lease runs out
            self._catalog.release(lease)
        self._troubles.rest()
        return Outcome.TROUBLED

    def _halve(self, lease: Lease, reason: str, detail: str) -> Outcome:
        """One picture must not cost its neighbours: a batch is halved until what is wrong stands alone."""
        if len(lease.images) > 1:
            half = self._catalog.split(lease)
            faultpoint("task.split")
            return Outcome.LOST if half is None else Outcome.SPLIT
        done = self._handlers[lease.kind].give_up(lease, reason, detail)
        return Outcome.PUBLISHED if done else Outcome.LOST


def _ids(lease: Lease) -> dict[str, object]:
    return {
        "task_id": lease.task_id,
        "job_id": lease.job_id,
        "attempt": lease.attempt,
        "images": len(lease.images),
    }
