"""What a source lists: pictures to read, and what could not be listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sightline.imaging.limits import Limits

MAX_BYTES: Final = Limits().max_bytes
"""Bytes of one picture, unless a caller says otherwise."""
DUPLICATE: Final = "duplicate"
"""The reason of what has an id that its source has named already, for something else."""
TOLD_TOO_MUCH: Final = "metadata_too_large"
"""The reason of a picture with more metadata, or a longer caption, than is kept."""
BAD_SIDECAR: Final = "bad_sidecar"
"""The reason of a file that describes a picture and cannot be read; the picture is indexed without it."""
SKIPPED: Final = "skipped"
"""The reason of what is passed over: a folder, in silence; a file of another ``kind``, counted."""


@dataclass(frozen=True)
class Origin:
    """What kind of source a picture was found in (``WebDataset``), and in which of its parts (a shard)."""

    kind: str
    part: str


@dataclass(frozen=True)
class Written:
    """What a store of objects says of one: its bytes, and when it was written, in UTC seconds."""

    size: int
    at: float


@dataclass(frozen=True)
class SourceItem:
    """One picture of a source.

    ``uri`` is its absolute address, which `read_uri` understands later. ``caption`` None and empty
    ``metadata`` mean that the source says nothing. ``read`` gives the bytes: at any time while the item is
    held, from any thread, raising nothing but ImageRejected. ``repeats``: how often the source said so again.
    ``origin``: None for files as they are. ``written``: None where nobody but its reader can say.
    """

    image_id: str
    uri: str
    caption: str | None
    metadata: Mapping[str, Any]
    read: Callable[[], bytes] = field(compare=False)
    repeats: int = 0
    origin: Origin | None = None
    written: Written | None = None


@dataclass(frozen=True)
class SourceProblem:
    """Something that stands in a source and is no picture to read; ``reason`` is a short code.

    ``hides_more``: pictures may lie behind it that the listing does not name, so what is missing in the
    listing is not known to be gone. ``kind``: of what is counted by it and is no failure (``video``).
    """

    image_id: str
    uri: str
    reason: str
    detail: str
    hides_more: bool = False
    kind: str = ""


Listed = SourceItem | SourceProblem
