"""Pictures that came as bytes, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Upload:
    """One picture. Without an ``image_id`` its SHA-256; no caption, no metadata: not given."""

    data: bytes
    image_id: str | None = None
    caption: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UploadLine:
    """The answer to the upload at ``index``: ``pending`` in a job, ``unchanged`` or ``failed``."""

    index: int
    id: str
    status: Literal["pending", "unchanged", "failed"]
    reason: str | None = None
    detail: str | None = None
