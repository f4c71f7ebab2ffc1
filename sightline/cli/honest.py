"""What the command line says of an answer besides the answer: unknown words, and what the model is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.records import SearchResponse


def remarks_on(response: SearchResponse) -> list[str]:
    """One sentence each."""
    from sightline.searching.reading import listed, nothing_sentence

    said = list(response.notes)
    ranked = nothing_sentence(response.unknown_words) not in said
    if response.unknown_words and ranked and (response.results or response.scored):
        words = listed(response.unknown_words)
        said.insert(0, f"The model does not know: {words}. What matches can match the rest of the text only.")
    return said


def say_note(model: str) -> None:
    """What is to be said of a model, on stderr; nothing where it asks for nothing or is not on this disk."""
    from sightline.blip.checkpoint_words import note_on_disk
    from sightline.console import remarks

    if (note := note_on_disk(model)) is not None:
        remarks().print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
