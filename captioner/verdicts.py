"""The texts of stored images, each with its match probability and its verdict."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.captioner.judging import Judge
from sightline.captioner.settings import MOST_TEXTS
from sightline.errors import CheckpointError, ModelMismatchError, UnavailableError
from sightline.store.sql.given import field_texts
from sightline.store.text_records import FIELD, GIVEN, NewText

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.captioner.parts import CaptionerParts, Heartbeat, Models
    from sightline.captioner.thresholds import Threshold
    from sightline.errors import ImageRejected
    from sightline.store.records import Collection, Image
    from sightline.store.text_records import Verdict

log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 8
"""Images whose patches are in memory together while their texts are judged."""


class Verdicts:
    """Judges texts of one collection's images by its own model; for one task, in one thread."""

    def __init__(
        self, parts: CaptionerParts, collection: Collection, threshold: Threshold, heartbeat: Heartbeat
    ) -> None:
        """Raises UnavailableError: this process cannot have the collection's model."""
        with heartbeat.pulse.patience():
            model = load_judge(parts.models, collection)
        self._collection = collection
        self._judge = Judge(model, parts.patches.of(collection, model))
        self._fingerprint = model.fingerprint
        self._threshold = threshold
        self._heartbeat = heartbeat

    @property
    def refused(self) -> dict[int, ImageRejected]:
        """Images that could not be judged, by key."""
        return self._judge.refused

    def of(self, texts: Mapping[int, Sequence[NewText]]) -> list[NewText]:
        """The texts by key, judged; without those of refused images."""
        judged, keys, cut = list[NewText](), list(texts), 0
        for start in range(0, len(keys), IMAGES_AT_ONCE):
            self._heartbeat.check()
            some = {key: texts[key] for key in keys[start : start + IMAGES_AT_ONCE]}
            lines = {key: [line for one in many for line in lines_of(one.text)] for key, many in some.items()}
            found = self._judge.probabilities(lines)
            cut += sum(map(self._judge.truncated, lines.values()))
            judged += [
                self._judged(one, least) for key in found for one, least in worst(some[key], found[key])
            ]
        if cut:
            log.warning(
                "texts are longer than the model reads; their ends were not judged",
                extra={"collection": self._collection.name, "texts": cut},
            )
        return judged

    def _judged(self, text: NewText, probability: float) -> NewText:
        verdict: Verdict = "kept" if self._threshold.keeps(probability) else "dropped"
        return replace(text, match_probability=probability, judge=self._fingerprint, verdict=verdict)


def load_judge(models: Models, collection: Collection) -> RetrievalModel:
    """The collection's model.

    Raises:
        UnavailableError: this process cannot have it, or its files are another version of it.
    """
    try:
        return models.encoder(collection)
    except (CheckpointError, ModelMismatchError) as error:
        raise UnavailableError(f"This worker cannot judge texts of {collection.name}: {error}") from error


def own_texts(image: Image, fields: Sequence[str]) -> list[NewText]:
    """The texts that came with an image: its caption and those in these fields of its metadata."""
    said = [(GIVEN, image.caption)] if image.caption else []
    said += [(f"{FIELD}{field}", text) for field in fields for text in field_texts(image.metadata, field)]
    unique = {(source, text): NewText(image.key, source, text) for source, text in said if text.strip()}
    return list(unique.values())[:MOST_TEXTS]


def lines_of(text: str) -> list[str]:
    """What is judged of a text: each of its lines. The captions of one picture that stands in several rows of
    a manifest are kept as one text, a line each."""
    return [line for line in text.splitlines() if line.strip()] or [text]


def worst(texts: Sequence[NewText], probabilities: Sequence[float]) -> Iterator[tuple[NewText, float]]:
    """Each text with the least probability of its lines: it is right when all of them are."""
    at = 0
    for text in texts:
        count = len(lines_of(text.text))
        yield text, min(probabilities[at : at + count])
        at += count
