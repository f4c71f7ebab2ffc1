"""What the command line says of an answer besides the answer: unknown words, and what the model is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.records import SearchResponse


def remarks_on(response: SearchResponse) -> list[str]:
    """One sentence each."""
    from sightline.searching.reading import listed

    said = list(response.notes)
    if response.unknown_words and (response.results or response.scored):
        words = listed(response.unknown_words)
        said.insert(0, f"The model does not know: {words}. What matches can match the rest of the text only.")
    return said
