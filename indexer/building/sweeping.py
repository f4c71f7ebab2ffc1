"""What a broker forgets and what dead processes leave open: found in SQL, set right, sent again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sightline.errors import ConflictError, SightlineError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.indexer.parts import Queue
from sightline.indexer.resuming import MOST
from sightline.indexer.settings import BuilderSettings

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.work_records import Listing

log = logging.getLogger(__name__)

NEVER_SENT = 1e12
"""An age in seconds that no message has: asks for the tasks that were never sent."""


class Sweeper:
    """Tasks and jobs; ``queue`` None means that nobody listens and nothing needs sending."""

    def __init__(
        self,
        catalog: Catalog,
        queue: Queue | None,
        settings: BuilderSettings,
        monotonic: Callable[[], float],
        listers: Mapping[str, Callable[[str], object]] | None = None,
    ) -> None:
        """``listers``: by kind of job, what lists its images again, by its id: they need nothing but SQL."""
        self._listers = listers or {}
        self._catalog = catalog
        self._queue = queue
        self._settings = settings
        self._monotonic = monotonic
        self._signs: dict[str, tuple[float, float]] = {}
        """Job that still registers → the last sign of life of its listing, and when it was seen first."""

    def expire(self) -> int:
        """Tasks whose worker is gone become free again and are sent at once."""
        expired = self._catalog.expire_leases()
        faultpoint("sweep.expired")
        if expired:
            log.warning("leases expired", extra={"task_ids": expired})
            self._send(expired)
        return len(expired)

    def resend(self) -> int:
        """Send what was never sent; once the queue is empty, also what was sent long ago and never taken.

        Not earlier: behind a long queue a message may wait for hours without being lost, and
        sending it again every minute would bury the broker.
        """
        if self._queue is None:
            return 0
        limit = self._settings.resend_limit
        ready = self._catalog.unsent_tasks(NEVER_SENT, limit)
        if not ready:
            ready = self._catalog.unsent_tasks(self._settings.resend_seconds, limit)
            if ready and self._queue.depth() != 0:
                return 0
            if ready:
                log.warning("messages were lost; sending them again", extra={"task_ids": ready})
        return self._send(ready)

    def end_abandoned(self) -> int:
        """Jobs whose listing died: what they registered is all there will be, and they say so.

        Those whose images can be listed from here are listed again. Silence is measured here, and not with
        the database's clock, which may be set.
        """
        listings = self._catalog.unsealed_jobs()
        self._signs = {listing.job.id: self._seen(listing) for listing in listings}
        silent = [listing.job for listing in listings if self._silent(listing)]
        for job in silent:
            lister = self._listers.get(job.kind)
            if lister is not None and self._catalog.note_resumed(job.id) <= MOST:
                self._list_again(lister, job.id)
                continue
            log.warning("the listing of a job ended early", extra={"job_id": job.id})
            self._catalog.end_listing(job.id)
        return len(silent)

    def _list_again(self, lister: Callable[[str], object], job_id: str) -> None:
        log.warning("took up the listing of a job again", extra={"job_id": job_id})
        try:
            lister(job_id)
        except ConflictError as error:  # somebody lists it after all
            log.info("%s", error, extra={"job_id": job_id})
        except SightlineError as error:
            log.warning("%s", error, extra={"job_id": job_id})
        self._signs.pop(job_id, None)

    def _seen(self, listing: Listing) -> tuple[float, float]:
        known = self._signs.get(listing.job.id)
        return known if known is not None and known[0] == listing.sign else (listing.sign, self._monotonic())

    def _silent(self, listing: Listing) -> bool:
        """A listing by an API server is left to those long enough that one of them takes it up again."""
        if listing.job.kind in self._listers:
            limit = min(self._settings.silent_seconds, self._settings.stale_registration_seconds)
            return listing.free and self._monotonic() - self._signs[listing.job.id][1] >= limit
        resumed = listing.job.request.get("roots") is not None
        patient = resumed or not listing.leased
        limit = self._settings.stale_registration_seconds if patient else self._settings.silent_seconds
        return self._monotonic() - self._signs[listing.job.id][1] >= limit

    def _send(self, task_ids: list[int]) -> int:
        if not task_ids or self._queue is None:
            return 0
        try:
            self._queue(task_ids)
        except UnavailableError as error:
            log.warning("%s", error)
            return 0
        return len(task_ids)
