"""Pictures that came as bytes, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sightline.errors import InputError
from sightline.indexer.items import DUPLICATE
from sightline.store.values import check_image_id


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


def upload_problem(upload: Upload, image_id: str, taken: bool) -> tuple[str, str] | None:
    """(reason, detail) of what cannot be taken at all; ``taken``: another file of the request has the id."""
    if not upload.data:
        return "empty", "The file has no bytes."
    if taken:
        return DUPLICATE, "Another file of this request has the same id."
    try:
        check_image_id(image_id)
    except InputError as error:
        return "unsupported", str(error)
    return None
