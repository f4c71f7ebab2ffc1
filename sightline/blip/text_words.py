"""The words of a text as its writer spelled them, with the tokens that a model reads of each."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextWord:
    """``text[start:end]``; ``tokens``: positions among the text's tokens, [CLS] being 0."""

    start: int
    end: int
    tokens: tuple[int, ...]


def text_words(text: str, spans: Sequence[tuple[int, int]]) -> tuple[TextWord, ...]:
    """Tokens that touch are one word ("t-shirt"), but for Chinese characters, which are words themselves;
    punctuation at a word's ends is no part of it.

    ``spans``: where each token stands in the text, without [CLS] and [SEP].
    """
    groups: list[list[int]] = []
    for at, (start, end) in enumerate(spans):
        if start == end:
            continue
        before = spans[groups[-1][-1]] if groups else None
        joined = before is not None and before[1] == start
        if joined and not (_is_ideograph(text[start]) or _is_ideograph(text[start - 1])):
            groups[-1].append(at)
        else:
            groups.append([at])
    trimmed = (_trimmed(text, spans, group) for group in groups)
    return tuple(
        TextWord(spans[group[0]][0], spans[group[-1]][1], tuple(at + 1 for at in group))
        for group in trimmed
        if group
    )


def without(text: str, start: int, end: int) -> str:
    """The text with that part left out."""
    return " ".join(f"{text[:start]} {text[end:]}".split())


def _trimmed(text: str, spans: Sequence[tuple[int, int]], group: list[int]) -> list[int]:
    said = [at for at in group if not _is_punctuation(text[slice(*spans[at])])]
    return [at for at in group if said and said[0] <= at <= said[-1]]


def _is_punctuation(part: str) -> bool:
    return all(unicodedata.category(one).startswith("P") for one in part)


def _is_ideograph(character: str) -> bool:
    """Where BERT's tokenizers put spaces around a character by themselves."""
    return unicodedata.name(character, "").startswith("CJK ")
