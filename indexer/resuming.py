"""The listing of a job's sources: under a lease, so that it is noticed when it dies and another takes it up.

A process that lists holds the lease ``register:JOB`` and renews it. A listing by an API server, whose job
names the roots below which that server may read, is taken up again by any API server with these roots:
registering is idempotent, so it begins from the first source again and counts nothing twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sightline.errors import ConflictError, SightlineError
from sightline.faultpoint import faultpoint
from sightline.indexer.heartbeat import Heartbeat
from sightline.indexer.listings import AT_ONCE
from sightline.indexer.names import worker_name
from sightline.store.records import LISTING

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.work_records import Listing

log = logging.getLogger(__name__)

MOST = 20
"""A listing that was taken up this often ends its process each time."""


@contextmanager
def listing_lease(catalog: Catalog, job_id: str, seconds: float) -> Iterator[Heartbeat]:
    """Inside, nobody else lists the sources of this job; LeaseLostError from ``check`` when somebody does.

    Raises:
        ConflictError: somebody else does already.
    """
    name, owner = f"{LISTING}{job_id}", worker_name()
    if not catalog.acquire_singleton(name, owner, seconds):
        raise ConflictError(f"Another process lists the sources of job {job_id}.")
    heartbeat = Heartbeat(
        # One that ran out while this machine slept, and that nobody took, is taken again.
        lambda: catalog.acquire_singleton(name, owner, seconds),
        lease=seconds,
        interval=seconds / 3,
        what=f"the listing of job {job_id}",
    )
    try:
        with heartbeat:
            yield heartbeat
    finally:
        with suppress(SightlineError):  # it runs out by itself
            catalog.release_singleton(name, owner)


class Resumption:
    """In an API server: looks for listings that died, and takes up those that it may read.

    ``register`` does the listing of a job by its id.
    """

    def __init__(
        self,
        catalog: Catalog,
        register: Callable[[str], object],
        roots: Sequence[str],
        seconds: float,
    ) -> None:
        self._catalog = catalog
        self._register = register
        self._roots = frozenset(roots)
        self._seconds = seconds
        self._stop = threading.Event()
        self._running: list[threading.Thread] = []

    def start(self) -> None:
        """Look every now and then, until the process ends."""
        if self._roots:
            threading.Thread(target=self._watch, name="resume listings", daemon=True).start()

    def step(self) -> list[threading.Thread]:
        """Look once; the listings that were taken up, each in a thread of its own, few at once."""
        now = self._catalog.now()
        found = [one.job.id for one in self._catalog.unsealed_jobs() if self._is_ours(one, now)]
        self._running = [thread for thread in self._running if thread.is_alive()]
        taken = [self._resumed(job_id) for job_id in found[: AT_ONCE - len(self._running)]]
        self._running += taken
        return taken

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.step()
            except Exception as error:  # the database is away for a moment, say
                log.warning("listings cannot be looked for", extra={"error": str(error)})

    def _is_ours(self, listing: Listing, now: float) -> bool:
        roots = listing.job.request.get("roots")
        if listing.job.kind != "index" or roots is None or not self._roots.issuperset(roots):
            return False
        # One without a lease may have begun a moment ago: its process is about to take it.
        begun = listing.leased or not 0.0 <= now - listing.job.updated_at < self._seconds
        return listing.free and begun

    def _resumed(self, job_id: str) -> threading.Thread:
        thread = threading.Thread(target=self._resume, args=(job_id,), name=f"register-{job_id}", daemon=True)
        thread.start()
        return thread

    def _resume(self, job_id: str) -> None:
        try:
            if self._catalog.note_resumed(job_id) > MOST:
                self._catalog.end_listing(job_id)
                return
            faultpoint("listing.resumed")
            log.warning("took up the listing of a job again", extra={"job_id": job_id})
            self._register(job_id)
        except ConflictError as error:
            log.info("%s", error, extra={"job_id": job_id})
        except SightlineError as error:
            log.warning("%s", error, extra={"job_id": job_id})
        except Exception:
            log.exception("a listing ended early", extra={"job_id": job_id})
