"""What archives of any kind consist of, and how much they may unpack to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sightline.errors import ImageRejected

_FREE_GROWTH: Final = 2 << 30
_MOST_GROWTH: Final = 200


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    ``pieces`` gives its bytes, at most so many at once, at any time and from any thread, as long as it is
    held. ``refusal`` says why they are not to be asked for at all.
    """

    name: str
    size: int
    pieces: Callable[[int], Iterator[bytes]]
    refusal: ImageRejected | None = None


def member_name(raw: str) -> str:
    """The name of a member without what some writers put before all of them."""
    return raw.removeprefix("./").lstrip("/")


def growth_limit(packed_bytes: int) -> int:
    """Bytes that an archive of that length may unpack to in all: pictures hardly shrink when packed."""
    return max(_FREE_GROWTH, _MOST_GROWTH * packed_bytes)
