"""What a model makes of the words of a question, and what is to be said of that."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sightline.blip.calibration import Calibration

MOST_LETTERS: Final = 40
"""Of one word in a sentence; the field ``unknown_words`` has it whole."""
SILENT: Final = "The text has no words, so nothing was ranked; say what the pictures should show."


@dataclass(frozen=True)
class Reading:
    """``unknown``: words that the model does not know, as they were written. ``nothing_known``: it knows none
    of those that say something, or there is no word at all, so that an order by them would mean nothing.
    ``notes``: what is to be said, one sentence each, one of the model itself the last."""

    unknown: tuple[str, ...] = ()
    nothing_known: bool = False
    notes: tuple[str, ...] = ()

    def words_to_find(self, text: str) -> str:
        """Which words of a text bring pictures by their captions: where the model knows none that says
        something, "an elephant", words of grammar bring none either."""
        return " ".join(self.unknown) if self.nothing_known else text


def reading_of(model: object, texts: Sequence[str]) -> Reading:
    """Of all texts of a question together."""
    from sightline.blip.calibrated import note_of, words_read  # torch, which who only words sentences lacks

    read = [words_read(model, text) for text in texts]
    unknown = tuple(dict.fromkeys(word for one in read for word in one.unknown))
    silent = bool(texts) and not any(_says_something(text) for text in texts)
    nothing = silent or (bool(unknown) and not any(one.known for one in read))
    said = [SILENT if silent else nothing_sentence(unknown)] if nothing else []
    note = note_of(model)
    return Reading(unknown, nothing, (*said, *([note] if note else [])))


def calibration_of_text(calibration: Calibration, model: object, text: str) -> Calibration:
    """A collection's calibration for the pairs of one text."""
    return calibration.for_query(unknown=bool(reading_of(model, [text]).unknown))


def _says_something(text: str) -> bool:
    """Whether there is more in it than punctuation, spaces, marks, signs of arithmetic and of money."""
    kinds = (unicodedata.category(one) for one in text)
    return any(kind[0] in "LN" or kind == "So" for kind in kinds)


def nothing_sentence(unknown: Sequence[str]) -> str:
    """For a question that the model knows no word of."""
    if len(unknown) == 1:
        return (
            f"The model does not know the word {listed(unknown)}, so nothing was ranked; ask in other words."
        )
    return f"The model knows none of the words {listed(unknown)}, so nothing was ranked; ask in other words."


def listed(words: Sequence[str], most: int = 10) -> str:
    """Words for a sentence, long ones shortened."""
    told = [word if len(word) <= MOST_LETTERS else f"{word[:MOST_LETTERS]}…" for word in words[:most]]
    more = len(words) - len(told)
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")
