"""How much is told of one image: caption and metadata, which every list and every search repeats, and the
text whose words brought it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sightline.errors import InputError


def metadata_bytes(metadata: Mapping[str, Any]) -> int:
    """Bytes of its JSON in UTF-8; 0 for what is no JSON, which `values.check_metadata` refuses."""
    try:
        text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return 0
    return _bytes(text)


def told_bytes(caption: str | None, metadata: Mapping[str, Any], matched: str | None = None) -> int:
    """Bytes of all of them, as an answer repeats them."""
    return metadata_bytes(metadata) + _bytes(caption or "") + _bytes(matched or "")


class Room:
    """For so many bytes of captions, metadata and texts; ``most`` None: for any number."""

    def __init__(self, most: int | None) -> None:
        self._left = most

    def takes(self, caption: str | None, metadata: Mapping[str, Any], matched: str | None = None) -> bool:
        """Whether these are within it, after those before. ``matched``: a text that is told besides."""
        if self._left is None:
            return True
        self._left -= told_bytes(caption, metadata, matched)
        return self._left >= 0


def check_told(image_id: str, caption: str | None, metadata: Mapping[str, Any], most: int) -> None:
    """Raises InputError when the metadata as JSON, or the caption, has more than ``most`` bytes."""
    found = (("metadata", metadata_bytes(metadata)), ("caption", _bytes(caption or "")))
    for what, size in found:
        if size > most:
            raise InputError(
                f"The {what} of {image_id[:100]!r} has {size:,} bytes, and at most {most:,} are kept: "
                "shorten it, or raise SIGHTLINE_INDEXER__MAX_METADATA_BYTES."
            )


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
