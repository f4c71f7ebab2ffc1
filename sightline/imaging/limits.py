"""How much one picture may ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sightline.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds for decoding one picture; all positive."""

    max_bytes: int = 1 << 30
    """Encoded bytes of one picture, at most."""
    max_pixels: int = 250_000_000
    """Width × height, at most; read from the header before any pixel is allocated."""
    whole_pixels: int = 50_000_000
    """Larger pictures are handed on at half, a third, … of their size, so that they have at most so many."""
    seconds: float = 60.0
    """Processor time that the most expensive picture may take in a process of its own; others get a share by
    what their header and their bytes explain, and twice this number doubles every share.
    """
    memory_bytes: int = 1280 << 20
    """Memory that a decode process may take for one picture, beside the file; not enforced in-process."""
    thumbnail_side: int = 384
    """The longest side of thumbnails, in pixels; smaller pictures are not enlarged."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InputError(f"The imaging limit {field.name} must be greater than 0.")


@dataclass(frozen=True)
class Allowance:
    """What is left for one picture of several, when that is less than `Limits` say."""

    pixels: int
    """Width × height, at most."""
    seconds: float
    """Processor time."""
