"""What a filter consists of once it is parsed (`sightline.store.filters`), and what SQL is made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.store.moments import instant_key

Scalar = str | int | float | bool
Bound = str | int | float


@dataclass(frozen=True)
class Field:
    """``kind`` is "text" or "number" for a column; "metadata" has a ``path`` of names instead."""

    name: str
    kind: Literal["text", "number", "metadata"]
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class In:
    """Equal to one of ``values``; ``equals`` is the case of one value."""

    field: Field
    values: tuple[Scalar, ...]
    # True equals 1 in Python, and what a filter fits is kept by the filter.
    _flags: tuple[bool, ...] = dataclasses.field(init=False, repr=False)
    is_absence: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "_flags", tuple(isinstance(value, bool) for value in self.values))

    @property
    def instants(self) -> list[str]:
        """The values that are a date, time and zone."""
        texts = (value for value in self.values if isinstance(value, str))
        return [text for text in texts if instant_key(text) is not None]


@dataclass(frozen=True)
class Range:
    """``bounds``: (operator, bound) pairs that one element must fulfil together."""

    field: Field
    bounds: tuple[tuple[str, Bound], ...]
    is_absence: ClassVar[bool] = False

    @property
    def of_instants(self) -> bool:
        """Whether the bounds are dates, times and zones: all of them are, or none (in metadata)."""
        return instant_key(self.bounds[0][1]) is not None


@dataclass(frozen=True)
class Exists:
    field: Field
    wanted: bool

    @property
    def is_absence(self) -> bool:
        """Whether it is fulfilled by what is not there."""
        return not self.wanted


@dataclass(frozen=True)
class Contains:
    field: Field
    text: str
    is_absence: ClassVar[bool] = False


Condition = In | Range | Exists | Contains


@dataclass(frozen=True)
class Filter:
    """A parsed filter; hashable. The empty filter fits every image."""

    must: tuple[Condition | Filter, ...] = ()
    should: tuple[Condition | Filter, ...] = ()
    must_not: tuple[Condition | Filter, ...] = ()
