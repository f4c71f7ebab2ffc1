"""One text in several spellings: composed letters (é), or decomposed ones (e and an accent).

macOS gives file names decomposed, and people type composed letters. Nothing is stored otherwise than it was
given; whoever looks for a text tries the forms.
"""

from __future__ import annotations

import unicodedata


def forms(text: str) -> tuple[str, ...]:
    """The text as it is given first, then composed (NFC) and decomposed (NFD), each once."""
    if text.isascii():
        return (text,)
    return tuple(
        dict.fromkeys((text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)))
    )
