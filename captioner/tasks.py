"""The handlers of the tasks of this verb (`indexer.tasks.Handler`).

Nothing becomes visible before the last transaction, which checks that the lease is still ours: texts,
features and the end of the task are written together, or nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sightline.blip.model_batch import ModelBatch
from sightline.captioner.plans import CAPFILT, CAPTION, CapFiltPlan, CaptionPlan
from sightline.captioner.verdicts import Verdicts, own_texts
from sightline.captioner.writing import ImageWriter
from sightline.faultpoint import faultpoint
from sightline.store.durable import publish_or_remove
from sightline.store.text_records import CAPTIONER, NewText

if TYPE_CHECKING:
    from sightline.captioner.features import Features
    from sightline.captioner.parts import CaptionerParts, Heartbeat
    from sightline.captioner.plans import Writing
    from sightline.errors import ImageRejected
    from sightline.store.records import Image
    from sightline.store.work_records import Lease


class _Tasks:
    """What the handlers share."""

    def __init__(self, parts: CaptionerParts) -> None:
        self._parts = parts
        self._catalog = parts.catalog
        self._batch = ModelBatch(parts.batch)

    def give_up(self, lease: Lease, reason: str, detail: str) -> bool:
        """Every image of the task has failed."""
        return self._catalog.finish(lease, [(image.key, reason, detail) for image in lease.images])

    def _writer(self, lease: Lease, writing: Writing, heartbeat: Heartbeat) -> ImageWriter:
        return ImageWriter(self._parts, lease.collection, writing, heartbeat)

    def _written(self, writer: ImageWriter, writing: Writing, images: Sequence[Image]) -> Iterator[NewText]:
        for image, captions in writer.captions(images, self._batch):
            for one in captions:
                yield NewText(image.key, CAPTIONER, one.text, writing.fingerprint, one.log_probability)

    def _finish(
        self,
        lease: Lease,
        texts: Sequence[NewText],
        refused: Mapping[int, ImageRejected],
        features: Features | None,
    ) -> bool:
        """One transaction with all that came of the task; False when the lease was lost."""
        made = None if features is None else features.segment()
        failures = [(key, error.reason, error.detail) for key, error in refused.items()]
        done = publish_or_remove(
            None if made is None else self._parts.segments.path(made.segment),
            lambda: self._catalog.finish(lease, failures, texts=texts, features=made),
        )
        faultpoint("captions.finished")
        return done


class CaptionTasks(_Tasks):
    """Tasks of kind ``caption``."""

    def work(self, lease: Lease, heartbeat: Heartbeat) -> bool:
        """Caption the images of a leased task; False when the lease was lost."""
        if not lease.images:
            return self._catalog.finish(lease)
        writing = CaptionPlan.from_json(self._catalog.job(lease.job_id).request).writing
        writer = self._writer(lease, writing, heartbeat)
        texts = list(self._written(writer, writing, lease.images))
        heartbeat.check()
        return self._finish(lease, texts, writer.features.refused, writer.features)


class CapFiltTasks(_Tasks):
    """Tasks of kind ``capfilt``."""

    def work(self, lease: Lease, heartbeat: Heartbeat) -> bool:
        """Write captions for the images of a leased task and judge all their texts; False as above."""
        if not lease.images:
            return self._catalog.finish(lease)
        plan = CapFiltPlan.from_json(self._catalog.job(lease.job_id).request)
        texts = {image.key: own_texts(image, plan.fields) for image in lease.images}
        refused: dict[int, ImageRejected] = {}
        features = None
        if plan.writing is not None:
            writer = self._writer(lease, plan.writing, heartbeat)
            for text in self._written(writer, plan.writing, lease.images):
                texts[text.key].append(text)
            features, refused = writer.features, writer.features.refused
        verdicts = Verdicts(self._parts, lease.collection, plan.threshold, heartbeat)
        judged = verdicts.of({key: some for key, some in texts.items() if key not in refused})
        heartbeat.check()
        return self._finish(lease, judged, {**refused, **verdicts.refused}, features)


def handlers(parts: CaptionerParts) -> dict[str, CaptionTasks | CapFiltTasks]:
    """By kind of task; makes no model."""
    return {CAPTION: CaptionTasks(parts), CAPFILT: CapFiltTasks(parts)}
