"""What a model makes of the words of a question, and what is to be said of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sightline.blip.calibrated import note_of, words_read

MOST_LETTERS: Final = 40
"""Of one word in a sentence; the field ``unknown_words`` has it whole."""


@dataclass(frozen=True)
class Reading:
    """``unknown``: words that the model does not know, as they were written. ``nothing_known``: it knows none
    of those that say something, so that an order by them would mean nothing. ``notes``: what is to be said,
    one sentence each."""

    unknown: tuple[str, ...] = ()
    nothing_known: bool = False
    notes: tuple[str, ...] = ()


def reading_of(model: object, texts: Sequence[str]) -> Reading:
    """Of all texts of a question together."""
    read = [words_read(model, text) for text in texts]
    unknown = tuple(dict.fromkeys(word for one in read for word in one.unknown))
    nothing = bool(unknown) and not any(one.known for one in read)
    note = note_of(model)
    said = [nothing_sentence(unknown)] if nothing else []
    return Reading(unknown, nothing, (*said, *([note] if note else [])))


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
