"""How much one picture may ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sightline.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds for decoding one picture; all positive."""

    max_bytes: int = 1 << 30
    """Encoded bytes of one picture, at most."""
    max_pixels: int = 50_000_000
    """Width × height, at most; read from the header before any pixel is allocated."""
    seconds: float = 20.0
    """Wall clock for decoding one picture in a process of its own; ``decode`` in-process has no clock."""
    memory_bytes: int = 2 << 30
    """Memory that a decode process may take beyond what it needs to start; not enforced in-process."""
    thumbnail_side: int = 384
    """The longest side of thumbnails, in pixels; smaller pictures are not enlarged."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InputError(f"The imaging limit {field.name} must be greater than 0.")
