"""Names of numbered series: ``shard-{000000..000009}.tar``, ``{train,val}.tar``, as WebDataset has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sightline.errors import SourceError

MOST: Final = 100_000
"""Names that one pattern may stand for."""
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"([0-9]{1,12})\.\.([0-9]{1,12})")


def has_braces(source: str) -> bool:
    """Whether a name stands for several."""
    return any(_choices(found[1]) is not None for found in _BRACES.finditer(source))


def expanded(source: str) -> list[str]:
    """The names that a pattern stands for, in order. Raises SourceError: they are too many."""
    names = [""]
    at = 0
    for found in _BRACES.finditer(source):
        choices = _choices(found[1])
        if choices is None:
            continue
        if len(names) * len(choices) > MOST:
            raise SourceError(f"{source} stands for more than {MOST:,} names; name fewer at a time.")
        between = source[at : found.start()]
        names = [name + between + choice for name in names for choice in choices]
        at = found.end()
    return [name + source[at:] for name in names]


class _Numbers:
    """Numbers with leading zeros, not all made at once."""

    def __init__(self, first: str, last: str) -> None:
        self._first, self._last, self._width = int(first), int(last), len(first)

    def __len__(self) -> int:
        return max(0, self._last - self._first + 1)

    def __iter__(self) -> Iterator[str]:
        return (f"{number:0{self._width}d}" for number in range(self._first, self._last + 1))


def _choices(inside: str) -> _Numbers | list[str] | None:
    found = _RANGE.fullmatch(inside)
    if found:
        return _Numbers(found[1], found[2])
    return inside.split(",") if "," in inside else None
