"""Pictures that came as bytes, and what became of each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO, Literal

from sightline.errors import InputError
from sightline.indexer.items import DUPLICATE, TOLD_TOO_MUCH
from sightline.store.told import check_told
from sightline.store.values import check_image_id


@dataclass(frozen=True)
class Upload:
    """One picture. Without an ``image_id`` its SHA-256; no caption, no metadata: not given."""

    data: bytes = b""
    image_id: str | None = None
    caption: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    file: BinaryIO | None = None
    """Seekable, and in place of ``data`` when given: then the picture is never whole in memory."""

    def opened(self) -> BinaryIO:
        """Its bytes; rewound by whoever reads them."""
        return self.file if self.file is not None else BytesIO(self.data)

    def size(self) -> int:
        """In bytes."""
        return self.opened().seek(0, os.SEEK_END)


@dataclass(frozen=True)
class UploadLine:
    """The answer to the upload at ``index``: ``pending`` in a job, ``unchanged`` or ``failed``."""

    index: int
    id: str
    status: Literal["pending", "unchanged", "failed"]
    reason: str | None = None
    detail: str | None = None


def upload_problem(upload: Upload, image_id: str, taken: bool, most: int) -> tuple[str, str] | None:
    """(reason, detail) of what cannot be taken at all; ``taken``: another file of the request has the id;
    ``most``: bytes of metadata.
    """
    if not upload.size():
        return "empty", "The file has no bytes."
    if taken:
        return DUPLICATE, "Another file of this request has the same id."
    try:
        check_image_id(image_id)
    except InputError as error:
        return "unsupported", str(error)
    try:
        check_told(image_id, upload.caption, upload.metadata, most)
    except InputError as error:
        return TOLD_TOO_MUCH, str(error)
    return None
