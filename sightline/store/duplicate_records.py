"""What the catalog says of near duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HashedImage:
    """An image that was looked at: area in pixels, hashes of `sightline.imaging.picture_hash`."""

    key: int
    sha256: str
    area: int
    hash: bytes


@dataclass(frozen=True)
class Member:
    """A live image that shares its bytes, or the picture, with another one."""

    key: int
    id: str
    sha256: str
    width: int | None
    height: int | None
    bytes: int

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.width or 0) * (self.height or 0)


@dataclass(frozen=True)
class Alike:
    """``members`` by key; ``pairs`` of contents (SHA-256) that are the same picture."""

    members: Sequence[Member]
    pairs: Sequence[tuple[str, str]]
