"""Which words of a text a model knows.

A word is unknown when the tokenizer has no pieces for it, so that it becomes the same [UNK] as every other
such word; or where the checkpoint has a sign for words that it never learned (`Learned`), which it names in
its ``calibration.json``. Words of grammar are neither known nor unknown: they say nothing of a picture.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final, Protocol

import torch

from sightline.blip.function_words import FUNCTION_WORDS
from sightline.kept import kept

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.tokenizer import TextTokenizer, Word

_APOSTROPHES: Final = frozenset("'’ʼ")
_NONSENSE: Final = 64
"""So many words of random letters: their mean vector is that of no word in particular."""
_REMEMBERED: Final = 4096
"""Words whose likeness to nonsense is not computed again."""
_JOINED: Final = frozenset("\u200d\ufe0e\ufe0f")
"""What joins emoji, or says how they look."""


@dataclass(frozen=True)
class WordsRead:
    """``unknown``: as they were written, each once, in order. ``known``: how many others say something."""

    unknown: tuple[str, ...] = ()
    known: int = 0

    @property
    def nothing_known(self) -> bool:
        """Whether the model knows none of the words that say something."""
        return bool(self.unknown) and not self.known


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    known: bool


class Learned(Protocol):
    """A sign by which words that training never touched can be told."""

    def __call__(self, word: str, ids: Sequence[int]) -> bool:
        """Whether a word, of these pieces, was learned."""
        ...


class LongRows:
    """Every piece of a learned word has a row of at least ``least`` in the word embedding: weight decay has
    worn the others away, in a model that was trained with it from the start."""

    def __init__(self, norms: Sequence[float], least: float) -> None:
        """``norms``: of the rows, by id."""
        self._norms = norms
        self._least = least

    def __call__(self, word: str, ids: Sequence[int]) -> bool:
        """By the shortest row."""
        return min(self._norms[one] for one in ids) >= self._least


class UnlikeNonsense:
    """The text vector of "a WORD" is no nearer than ``most`` (cosine) to the mean one of random letters: a
    model that never learned a word takes it for any other such word. Needs no more of a model than that it
    embeds texts."""

    def __init__(self, encode_text: Callable[[Sequence[str]], Tensor], most: float) -> None:
        """``encode_text``: texts to unit vectors ``[T,D]``."""
        self._encode = encode_text
        self._most = most
        self.likeness = lru_cache(_REMEMBERED)(self._computed)

    @kept
    def _nonsense(self) -> Tensor:
        """Unit vector ``[D]``."""
        rng = Random(0)
        made = ["".join(rng.choices(ascii_lowercase, k=rng.randint(3, 10))) for _ in range(_NONSENSE)]
        return torch.nn.functional.normalize(self._encode([f"a {one}" for one in made]).mean(dim=0), dim=0)

    def _computed(self, word: str) -> float:
        return float(self._encode([f"a {word}"])[0] @ self._nonsense)

    def __call__(self, word: str, ids: Sequence[int]) -> bool:
        """By the cosine, whatever its pieces are."""
        return self.likeness(word.lower()) <= self._most


class KnownWords:
    """Of one checkpoint. Thread-safe."""

    def __init__(self, tokenizer: TextTokenizer, learned: Learned | None = None) -> None:
        """``learned`` None: whatever has pieces is known."""
        self._tokenizer = tokenizer
        self._learned = learned

    def read(self, text: str) -> WordsRead:
        """What is known of a text. Raises InputError: it is no valid Unicode."""
        spans = _joined(
            text, [span for word in self._tokenizer.words(text) for span in self._span(text, word)]
        )
        unknown = [text[one.start : one.end] for one in spans if not one.known]
        return WordsRead(tuple(dict.fromkeys(unknown)), sum(one.known for one in spans))

    def _span(self, text: str, word: Word) -> Iterator[_Span]:
        """The word where it says something."""
        end = _to_its_end(text, word.end)
        written = text[word.start : word.end]
        if all(unicodedata.category(letter)[0] in "PZC" for letter in written) or _is_ending(text, word):
            return
        if self._tokenizer.unknown in word.ids:
            yield _Span(word.start, end, known=False)
        elif any(letter.isalnum() for letter in written) and written.lower() not in FUNCTION_WORDS:
            yield _Span(word.start, end, known=self._learned is None or self._learned(written, word.ids))


def _is_ending(text: str, word: Word) -> bool:
    """Whether it is the end of a word behind an apostrophe: the s of "dog's"."""
    before = word.start - 1
    return before > 0 and text[before] in _APOSTROPHES and text[before - 1].isalpha() and (
        word.end - word.start <= 2
    )  # fmt: skip


def _to_its_end(text: str, end: int) -> int:
    """Marks that combine with the last letter, which tokenizers strip, belong to the word."""
    while end < len(text) and (unicodedata.category(text[end])[0] == "M" or text[end] in _JOINED):
        end += 1
    return end


def _joined(text: str, spans: Sequence[_Span]) -> list[_Span]:
    """Unknown neighbours with nothing between them are one word: tokenizers part Chinese by character."""
    found: list[_Span] = []
    for one in spans:
        last = found[-1] if found else None
        if last is not None and not last.known and not one.known and last.end >= one.start:
            found[-1] = _Span(last.start, one.end, known=False)
        else:
            found.append(one)
    return found
