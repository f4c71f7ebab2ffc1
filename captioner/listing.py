"""From a begun job to its tasks: the images that it is about, listed from SQL, a few thousand at a time.

A process that lists holds a lease, and adding an image twice does nothing: whoever finds a job whose listing
died (the builder looks for them) lists it again from the beginning, and nothing is missed or done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sightline.captioner.plans import Choice
from sightline.captioner.settings import LISTED_AT_ONCE, TASK_IMAGES
from sightline.errors import ConflictError, UnavailableError
from sightline.faultpoint import faultpoint

if TYPE_CHECKING:
    from sightline.captioner.parts import Checked, ListingLease, Send
    from sightline.store.catalog import Catalog
    from sightline.store.conditions import Filter
    from sightline.store.records import Job

log = logging.getLogger(__name__)


class JobListing:
    """Lists the images of jobs of this verb. Thread-safe. ``send``: None: nobody needs to be told."""

    def __init__(
        self, catalog: Catalog, lease: ListingLease, send: Send | None, task_images: int = TASK_IMAGES
    ) -> None:
        self._catalog = catalog
        self._lease = lease
        self._send = send
        self._task_images = task_images

    def list(self, job_id: str) -> Job:
        """Add the tasks of a begun job and seal it; one that is sealed stays as it is.

        Raises:
            ConflictError: another process lists it now.
            LeaseLostError: another process took over.
        """
        with self._lease(job_id) as lease:
            try:
                self._add(self._catalog.job(job_id), lease)
                self._catalog.seal_job(job_id)
            except ConflictError:
                if self._catalog.job(job_id).state == "registering":
                    raise  # else it was cancelled meanwhile
        return self._catalog.job(job_id)

    def _add(self, job: Job, lease: Checked) -> None:
        choice = Choice.from_json(job.request)
        if job.state != "registering" or choice.ids == ():  # all that it named were purged
            return
        keys = self._catalog.filter_keys(job.collection_id, chosen(choice)).tolist()
        sends = self._send is not None
        for start in range(0, len(keys), LISTED_AT_ONCE):
            lease.check()
            some = keys[start : start + LISTED_AT_ONCE]
            tasks = self._catalog.add_tasks(job.id, job.kind, some, self._task_images)
            faultpoint("captions.listed")
            sends = sends and self._told(job, tasks)

    def _told(self, job: Job, task_ids: Sequence[int]) -> bool:
        """Whether the workers could be told; if not, the builder does it later."""
        if self._send is None or not task_ids:
            return True
        try:
            self._send(task_ids)
        except UnavailableError as error:
            log.warning("%s", error, extra={"job_id": job.id})
            return False
        return True


def chosen(choice: Choice) -> Filter:
    """The filter that fits the images of a choice; the empty one fits all."""
    from sightline.store.conditions import Filter
    from sightline.store.filters import parse_filter

    if choice.ids is not None:
        return parse_filter({"field": "id", "in": list(choice.ids)})
    return Filter() if choice.filter is None else parse_filter(choice.filter)
