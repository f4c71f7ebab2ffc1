"""CapFilt (BLIP, arXiv 2201.12086, section 3.3) of a collection, as a job.

For each image a captioner writes, the collection's own model judges what was written and the image's own
texts by ITM, and what does not match is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.captioner.captioning import written_by
from sightline.captioner.judging import Judge
from sightline.captioner.plans import (
    CAPFILT,
    CapFiltPlan,
    check_choice,
    check_count,
    check_fields,
)
from sightline.captioner.report import CapFiltReport, make_report
from sightline.captioner.thresholds import Threshold, smallest_threshold
from sightline.captioner.verdicts import IMAGES_AT_ONCE, lines_of
from sightline.errors import InputError
from sightline.faultpoint import faultpoint

if TYPE_CHECKING:
    from sightline.captioner.labels import Label
    from sightline.captioner.listing import JobListing
    from sightline.captioner.parts import Models, Patches
    from sightline.store.catalog import Catalog
    from sightline.store.records import Job


class CapFilt:
    """Begins jobs of kind ``capfilt`` and says what came of them; workers do them. Thread-safe."""

    def __init__(self, catalog: Catalog, models: Models, patches: Patches, listing: JobListing) -> None:
        self._catalog = catalog
        self._models = models
        self._patches = patches
        self._listing = listing

    def begin(
        self,
        collection: str,
        *,
        captioner: str | None,
        revision: str | None = None,
        n: int = 1,
        prompt: str | None = None,
        seed: int = 0,
        threshold: Threshold | None = None,
        text_fields: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        listed: bool = True,
    ) -> Job:
        """A job that is to judge the texts of each chosen live image (all when nothing is chosen).

        Its own texts are its caption and those in ``text_fields`` of its metadata; ``captioner`` draws ``n``
        more (None, or n = 0: none). A text is kept from ``threshold`` on; None is the default one. Verdicts
        of an earlier run are replaced, but for those of people. Loads no weights. ``listed`` False:
        whoever calls lists its images (`JobListing.list`), which takes long for many.

        Raises:
            NotFoundError: no such collection.
            InputError: a number, field or choice that cannot be.
            ModelUnavailableError, CheckpointError: there is no such model.
        """
        check_count(n, "nucleus", least=0)
        choice, fields = check_choice(filter, ids), check_fields(text_fields)
        number = self._catalog.collection(collection).id
        writing = None
        if captioner is not None and n:
            writing = written_by(self._models, captioner, revision, n, "nucleus", prompt, seed)
        plan = CapFiltPlan(writing, threshold or Threshold(), fields, choice)
        job = self._catalog.create_job(number, CAPFILT, plan.to_json())
        faultpoint("captions.begun")
        return self._listing.list(job.id) if listed else job

    def threshold(self, collection: str, labels: Sequence[Label], precision: float) -> Threshold:
        """The smallest threshold with that precision on labelled texts. Loads the collection's model.

        Raises:
            NotFoundError: no such collection, or a label names an image that it does not have.
            InputError: none reaches the precision.
            ImageRejected: neither the patches nor the original of a labelled image can be had.
        """
        found = self._catalog.collection(collection)
        model = self._models.encoder(found)
        keys = {label.image: self._key(collection, label) for label in labels}
        probabilities = np.empty(len(labels))
        names = list(keys)
        for start in range(0, len(names), IMAGES_AT_ONCE):
            some = set(names[start : start + IMAGES_AT_ONCE])
            rows = [row for row, label in enumerate(labels) if label.image in some]
            # A source keeps the patches that it had to make: one for a few images.
            judge = Judge(model, self._patches.of(found, model))
            probabilities[rows] = _judged(judge, keys, [labels[row] for row in rows])
        right = np.array([label.right for label in labels], np.bool_)
        return smallest_threshold(probabilities, right, precision)

    def _key(self, collection: str, label: Label) -> int:
        image = self._catalog.image(collection, label.image)
        if image.state != "live":
            raise InputError(
                f"The image {label.image} in line {label.line} of the labels is {image.state}; label texts "
                "of images that are indexed."
            )
        return image.key

    def report(self, collection: str, job_id: str | None = None) -> CapFiltReport:
        """What was kept and dropped: of one job, or (None) of all texts, with the latest job's threshold.

        Raises:
            NotFoundError: no such collection, or it has no such job of this kind.
        """
        return make_report(self._catalog, collection, job_id)


def _judged(judge: Judge, keys: Mapping[str, int], labels: Sequence[Label]) -> list[float]:
    """The match probability of each labelled text: that of its worst line."""
    lines: dict[int, list[str]] = {}
    spans = []
    for label in labels:
        some = lines.setdefault(keys[label.image], [])
        spans.append((keys[label.image], len(some), len(lines_of(label.text))))
        some += lines_of(label.text)
    found = judge.probabilities(lines)
    for error in judge.refused.values():
        raise error
    return [min(found[key][start : start + count]) for key, start, count in spans]
