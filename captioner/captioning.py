"""Captions for the images of a collection, as a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightline.captioner.plans import CAPTION, CaptionPlan, Writing, check_choice, check_count
from sightline.faultpoint import faultpoint

if TYPE_CHECKING:
    from sightline.blip.sampling import SamplingName
    from sightline.captioner.listing import JobListing
    from sightline.captioner.parts import Models
    from sightline.store.catalog import Catalog
    from sightline.store.records import Job


class Captioning:
    """Begins jobs of kind ``caption``; workers do them. Thread-safe."""

    def __init__(self, catalog: Catalog, models: Models, listing: JobListing) -> None:
        self._catalog = catalog
        self._models = models
        self._listing = listing

    def begin(
        self,
        collection: str,
        *,
        model: str,
        revision: str | None = None,
        n: int = 1,
        sampling: SamplingName = "beam",
        prompt: str | None = None,
        seed: int = 0,
        filter: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        listed: bool = True,
    ) -> Job:
        """A job that is to write ``n`` captions for each chosen live image (all when nothing is chosen).

        They replace what this model wrote before, but for texts about which a person decided. Loads no
        weights. ``listed`` False: whoever calls lists its images (`JobListing.list`), which takes long for
        many.

        Raises:
            NotFoundError: no such collection.
            InputError: a number, sampling or choice that cannot be.
            ModelUnavailableError, CheckpointError: there is no such model.
        """
        check_count(n, sampling)
        choice = check_choice(filter, ids)
        number = self._catalog.collection(collection).id
        plan = CaptionPlan(written_by(self._models, model, revision, n, sampling, prompt, seed), choice)
        job = self._catalog.create_job(number, CAPTION, plan.to_json())
        faultpoint("captions.begun")
        return self._listing.list(job.id) if listed else job


def written_by(
    models: Models,
    model: str,
    revision: str | None,
    n: int,
    sampling: SamplingName,
    prompt: str | None,
    seed: int,
) -> Writing:
    """What a job says about its writer: the name and the fingerprint of its files as they are now."""
    known = models.identify_writer(model, "captioning", revision)
    return Writing(known.model, known.revision, known.fingerprint, n, sampling, prompt, seed)
