"""A model that writes, and the captions that it gives to stored images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.blip.model_batch import ModelBatch
from sightline.captioner.features import Features
from sightline.errors import CheckpointError, ModelMismatchError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.store.values import printable

if TYPE_CHECKING:
    from sightline.blip.protocols import Captioner
    from sightline.blip.sampling import Caption, Sampling
    from sightline.captioner.parts import CaptionerParts, Heartbeat, Models
    from sightline.captioner.plans import Writing
    from sightline.store.records import Collection, Image

Captioned = tuple["Image", list["Caption"]]


class ImageWriter:
    """Captions stored images of one collection as one job wants it; for one task, in one thread."""

    def __init__(
        self, parts: CaptionerParts, collection: Collection, writing: Writing, heartbeat: Heartbeat
    ) -> None:
        """Raises UnavailableError: this process cannot have the model, or has another version of it."""
        self._writing = writing
        self._heartbeat = heartbeat
        with heartbeat.pulse.patience():
            self._captioner = load_captioner(parts.models, writing)
        self.features = Features(parts, collection, self._captioner, writing)
        self._sampling = drawn(self._captioner, writing)

    def captions(self, images: Sequence[Image], batch: ModelBatch) -> Iterator[Captioned]:
        """Captions of the images that can be seen, each text once; the others fill ``features.refused``."""
        left = list(images)
        while left:
            self._heartbeat.check()
            some = left[: batch.size(self._captioner)]
            try:
                found = self._some(some)
            except RuntimeError as error:
                if not batch.shrink(error, len(some)):
                    raise
                continue
            faultpoint("captions.written")
            yield from found
            del left[: len(some)]

    def _some(self, images: Sequence[Image]) -> list[Captioned]:
        import torch

        seen, features_BFW = self.features.of(images)
        if not seen:
            return []
        writing, sampling = self._writing, apart(self._sampling, seen)
        with torch.inference_mode():
            written = self._captioner.caption(features_BFW, writing.n, sampling, writing.prompt)
        return [(image, distinct(some)) for image, some in zip(seen, written, strict=True)]


def load_captioner(models: Models, writing: Writing) -> Captioner:
    """The model that a job names.

    Raises:
        UnavailableError: this process cannot have it, or its files are another version of it: the work waits
        for a worker that has it.
    """
    try:
        known = models.identify_writer(writing.model, "captioning", writing.revision)
        if known.fingerprint == writing.fingerprint:
            return models.captioner(writing.model, writing.revision)
    except (CheckpointError, ModelMismatchError) as error:
        raise UnavailableError(f"This worker cannot write captions with {writing.model}: {error}") from error
    raise UnavailableError(
        f"This worker has another version of {writing.model} than this job began with; give it the same "
        "files, or cancel the job and begin a new one."
    )


def drawn(captioner: Captioner, writing: Writing) -> Sampling:
    """How the model chooses its words, with the job's seed: a job that is done again writes the same."""
    return replace(captioner.sampling(writing.sampling), seed=writing.seed)


def apart(sampling: Sampling, images: Sequence[Image]) -> Sampling:
    """Draws of each image by its own bytes, so that what is unlikely befalls one image and not the whole job;
    the same bytes are given the same texts, whichever image they are."""
    return replace(sampling, images=tuple(int(image.sha256[:15], 16) for image in images))


def distinct(captions: Sequence[Caption]) -> list[Caption]:
    """Each text once, with its first log-probability; without those that say nothing.

    What no database stores stands in them as an escape: a model of bytes may write any.
    """
    first: dict[str, Caption] = {}
    for caption in captions:
        text = printable(caption.text)
        if text.strip():
            first.setdefault(text, replace(caption, text=text))
    return list(first.values())
