"""What people type into a search box: a sentence, or clauses with a few signs between them.

``red car -house``
    a sign ``-`` right before a word or a phrase, at the beginning of a word: pictures without it.
``"a red car" + night``
    ``+`` between words begins another clause; pictures must match each.
``-"a big house"``, ``"-40 degrees"``
    quotes keep words together, and signs in them are no signs. So do not those after a backslash: ``\\-40``.

Anything else is text: a hyphen inside a word (``t-shirt``), a dash with a space behind it, a ``+`` inside a
word, a quote that is never closed. The signs that phones and word processors put for ``-`` and ``"`` count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sightline.queries import Clause, Query

_QUOTES: Final = '"“”„‟«»＂'
_MINUS: Final = "-−–‐‑﹣－"
"""Hyphen-minus, minus, en dash (what editors make of a hyphen), hyphens, and the small and wide forms."""
_PLUS: Final = "+＋"
_INSIDE: Final = rf"(?:[^{_QUOTES}\\]|\\[{_QUOTES}\\]|\\(?![{_QUOTES}\\]))*"
_PHRASE: Final = rf"[{_QUOTES}]{_INSIDE}[{_QUOTES}]"
_PART: Final = re.compile(
    rf"(?P<minus>(?<!\S)[{_MINUS}](?=\w|{_PHRASE}))?"
    rf"(?:(?P<phrase>{_PHRASE})|(?P<plus>[{_PLUS}](?=\s|$|\w|{_PHRASE}))|(?P<word>\S+))"
)
"""A phrase, a ``+`` or the rest of a word; each alternative fits in one way only: none takes long."""
_WORD: Final = re.compile(r"\S")
_QUOTED: Final = re.compile(rf"\\([{_QUOTES}\\])")
_LITERAL: Final = re.compile(rf"\\(?=[{_MINUS}{_PLUS}{_QUOTES}\\])")


@dataclass
class _Read:
    """Clauses as they are read: words of each, the last one still open; and what is not to be shown."""

    clauses: list[list[str]] = field(default_factory=lambda: [[]])
    without: list[str] = field(default_factory=list)
    signs: bool = False


def parse(typed: str) -> str | Query:
    """A text as it is searched for, or the query that its signs say.

    What has no sign comes back as it is. A query may be one that `check_query` refuses.
    """
    read = _Read()
    for part in _parts(typed):
        _take(read, part)
    if not read.signs:
        return typed
    kept = tuple(Clause(" ".join(words)) for words in read.clauses if words)
    if len(kept) == 1 and not read.without:
        return kept[0].text
    if not kept and not read.without:
        return typed  # signs alone, such as "+" or '""', mean themselves
    return Query(all=kept, none=tuple(Clause(text) for text in read.without))


def _parts(typed: str) -> Iterator[re.Match[str]]:
    at = 0
    while (start := _WORD.search(typed, at)) is not None:
        part = _PART.match(typed, start.start())
        assert part is not None, "a word matches, whatever it begins with"
        yield part
        at = part.end()


def _take(read: _Read, part: re.Match[str]) -> None:
    phrase, word = part["phrase"], part["word"]
    literal = word is not None and _LITERAL.match(word) is not None
    read.signs |= literal or word is None or part["minus"] is not None
    if part["plus"] is not None:
        read.clauses.append([])
        return
    text = word[literal:] if phrase is None else _QUOTED.sub(r"\1", " ".join(phrase[1:-1].split()))
    if not text:
        return
    if part["minus"] is not None:
        read.without.append(text)
    else:
        read.clauses[-1].append(text)
