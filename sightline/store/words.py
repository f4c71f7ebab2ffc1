"""What counts as a word of a text: one rule for captions and queries, whatever database looks for them.

SQLite and PostgreSQL each have parsers of their own, which differ in hyphens, accents, addresses and numbers.
Here a text becomes words before either sees it; both then only compare whole words.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MOST_WORDS: Final = 2_000
"""Words of one text that are looked at; a caption has a dozen."""
MOST_LETTERS: Final = 64
"""Letters of a word that are compared."""

# Chinese and Japanese are written without blanks: each of their characters counts as a word.
_ALONE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PLAIN: Final = re.compile("[0-9a-z]+")
_WORD: Final = re.compile(f"(?=[^\\W_])[{_ALONE}]|[^\\W_{_ALONE}]+")


def words_of(text: str) -> list[str]:
    """Its words in their order: letters and digits, without case and accents (``Café-Noir`` → cafe, noir).

    At most `MOST_WORDS`, each cut after `MOST_LETTERS`. A word has letters and digits only, so that it can
    stand in any query.
    """
    if text.isascii():
        found = _PLAIN.findall(text.lower())
    else:
        apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        bare = "".join(letter for letter in apart if not unicodedata.category(letter).startswith("M"))
        found = _WORD.findall(bare)
    return [word[:MOST_LETTERS] for word in found[:MOST_WORDS]]


def scoped(collection_id: int, word: str) -> str:
    """A word as it stands in the index, which is one for all collections: ``7zdog``."""
    return f"{collection_id}z{word}"


def indexed(collection_id: int, text: str) -> str:
    """The words of a text as they are indexed: each once, with one blank between them."""
    return " ".join(dict.fromkeys(scoped(collection_id, word) for word in words_of(text)))
