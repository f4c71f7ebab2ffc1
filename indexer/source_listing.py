"""One listing of a job's sources: what it lists is registered, and the job is left as the listing ended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sightline.errors import ConflictError, LeaseLostError, SightlineError, SourceError
from sightline.faultpoint import faultpoint
from sightline.indexer.plan import Plan, PruneLimit
from sightline.indexer.pruning import NOT_PRUNED, Confirm, prune_sources
from sightline.indexer.sources.listing import address_of
from sightline.store.work_records import Failure

if TYPE_CHECKING:
    from sightline.indexer.registration import Registrar
    from sightline.store.catalog import Catalog

INTERNAL = "internal"
"""The reason of a failure that is our own."""
MISTAKE = (
    "Sightline failed while it listed the sources, by a mistake of its own; what was registered until then "
    "is kept. Its log says more: please report it."
)


class SourceListing:
    """Of one job, by whoever has its lease (`sightline.indexer.resuming.listing_lease`)."""

    def __init__(self, catalog: Catalog, job_id: str, registrar: Registrar, confirm: Confirm | None) -> None:
        """``registrar``: of this job. ``confirm``: as of `Indexer.register`."""
        self._catalog = catalog
        self._job_id = job_id
        self._registrar = registrar
        self._confirm = confirm

    def run(self) -> None:
        """Registers all sources and prunes. The job is sealed, or whatever ended the listing is raised.

        Raises:
            SourceError: nothing could be listed; the job has failed.
            ConflictError: the job takes nothing more, and nobody has cancelled it.
            LeaseLostError: another process took over; the job is left to it.
        """
        job = self._catalog.job(self._job_id)
        plan = Plan.from_json(job.request)
        try:
            if plan.moved_from is not None:
                self._catalog.move_source(job.collection, plan.moved_from, address_of(plan.sources[0]))
                faultpoint("register.moved")
            self._registrar.register_sources(plan)
            faultpoint("register.listed")
            if plan.prune:
                self._prune(plan)
                faultpoint("register.pruned")
        except LeaseLostError:
            raise
        except SourceError as error:
            self._end_unlisted(str(error))
            raise
        except ConflictError:
            self._catalog.end_listing(self._job_id)
            if self._catalog.job(self._job_id).state != "cancelled":
                raise
        except BaseException as error:
            # A server that stops takes the pools from under its listings: those the next one takes up.
            if _is_mistake(error):
                with suppress(Exception):
                    self._end_unlisted(MISTAKE)
            elif plan.roots is None or isinstance(error, SightlineError | OSError):
                with suppress(Exception):
                    self._catalog.end_listing(self._job_id)
            raise
        else:
            self._catalog.seal_job(self._job_id)

    def _prune(self, plan: Plan) -> None:
        """To the trash with what each source lacks; a failure line for one of which nothing was pruned."""
        limit = PruneLimit.parse(plan.prune_limit)
        listings = list(self._registrar.listings.values())
        names = [plan.id_prefix + name for name in plan.only]
        for refusal in prune_sources(self._catalog, self._job_id, listings, limit, self._confirm, names):
            self._registrar.fail(f"(prune) {refusal.source}", refusal.source, NOT_PRUNED, refusal.detail)
        self._registrar.flush()

    def _end_unlisted(self, why: str) -> None:
        """The job has failed, but for what this listing, or one that died, had found before."""
        if not self._catalog.job_progress(self._job_id).pending:
            self._catalog.fail_job(self._job_id, why)
            return
        if why == MISTAKE:
            failure = Failure(f"(listing) {self._job_id}", "", INTERNAL, why, None)
            self._catalog.record_failures(self._job_id, [failure])
        self._catalog.end_listing(self._job_id)


def _is_mistake(error: BaseException) -> bool:
    """Whether a listing was ended by what nobody raised on purpose: it would end so each time it is taken up.

    Not so when this process stops, or is told to: its thread pools take nothing more then.
    """
    foreseen = isinstance(error, SightlineError | OSError) or not isinstance(error, Exception)
    return not foreseen and not (isinstance(error, RuntimeError) and "shutdown" in str(error))
