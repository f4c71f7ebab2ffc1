"""What found images are put in order by: `created_at` or a field of the metadata, up or (`-`) down.

``created_at`` and ``metadata.a.b`` name the fields, as in filters; a ``-`` before the name means down: the
latest first. Values of several kinds stand in the order true/false, numbers, instants (texts with a date,
time and zone: by what they mean), other texts (by code point, their first 256 characters); all of it is
turned round by ``-``. A list counts by its least element, with ``-`` by its greatest. What has no such value
comes last, up or down. Ties: by key, up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sightline.errors import FilterError, InputError
from sightline.store.conditions import Field
from sightline.store.filters import field_named

SortValue = tuple[int, float | int | str]
"""A kind and a value of that kind: such pairs are ordered as images are."""

MAX_NAME: Final = 1_000
_DOWN: Final = "-"


@dataclass(frozen=True)
class Sort:
    """By which field, and whether from the greatest value down."""

    field: Field
    down: bool = False


def parse_sort(text: str) -> Sort:
    """Raises InputError with one sentence for what images cannot be put in order by."""
    name = text.removeprefix(_DOWN)
    if len(name) <= MAX_NAME and (name == "created_at" or name.startswith("metadata.")):
        try:
            return Sort(field_named(name), text.startswith(_DOWN))
        except FilterError as error:
            raise InputError(f"The parameter sort names no field: {error}") from error
    raise InputError(
        "The parameter sort is relevance, created_at or metadata.FIELD, the last two also with a '-' before "
        f"them for the greatest first; not {text!a:.60}."
    )


def best_of(values: Iterable[SortValue], down: bool) -> SortValue:
    """Which of an image's values it is put in order by."""
    return max(values) if down else min(values)


def in_order(keys: Sequence[int], values: Mapping[int, SortValue], down: bool) -> list[int]:
    """All ``keys`` by their values; those without one come last. Ties: by key."""
    there = sorted(key for key in keys if key in values)
    missing = sorted(key for key in keys if key not in values)
    return sorted(there, key=lambda key: values[key], reverse=down) + missing
