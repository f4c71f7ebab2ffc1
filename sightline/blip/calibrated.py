"""What a model knows of its own limits: how far to believe it, and which words it never learned."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from sightline.blip.calibration import PLAIN, Calibration
from sightline.blip.known_words import WordsRead


@runtime_checkable
class Calibrated(Protocol):
    """A model that says so. Others are taken at their word, and to know all words."""

    @property
    def calibration(self) -> Calibration:
        """What its checkpoint says, for whom nothing better was fitted."""
        ...

    @property
    def note(self) -> str | None:
        """What is to be said to whoever uses it."""
        ...

    def words_read(self, text: str) -> WordsRead:
        """What it knows of a text."""
        ...


def calibration_of(model: object) -> Calibration:
    """Of a model's checkpoint; the plain softmax where it has none."""
    return model.calibration if isinstance(model, Calibrated) else PLAIN


def words_read(model: object, text: str) -> WordsRead:
    """What a model knows of a text; all of it where nobody knows better."""
    return model.words_read(text) if isinstance(model, Calibrated) else WordsRead()


def note_of(model: object) -> str | None:
    """What is to be said of a model, if anything."""
    return model.note if isinstance(model, Calibrated) else None
