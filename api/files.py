"""Bytes of pictures over HTTP: validators, caching, and media types that a browser may be trusted with.

Nothing here turns a path of the address into a path of the disk: an address names a row, the row names bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import Request

from sightline.api.problems import Problem
from sightline.errors import ImageRejected, NotFoundError, SourceError
from sightline.imaging.formats import media_type
from sightline.store.records import Image

if TYPE_CHECKING:
    from sightline.indexer.opened_originals import OpenedOriginal
    from sightline.indexer.originals import Originals

IMMUTABLE = "max-age=31536000, immutable"
REVALIDATE = "no-cache"
ANY_BYTES = "application/octet-stream"
HEAD = 64
"""First bytes of a file, enough to tell its format."""


def cache_headers(request: Request, etag: str, sha256: str, private: bool) -> dict[str, str]:
    """``immutable`` when the address carries the version that it answers with, else ask again each time."""
    version = request.query_params.get("v", "")
    fresh = len(version) >= 8 and sha256.startswith(version)
    scope = "private" if private else "public"
    return {"ETag": etag, "Cache-Control": f"{scope}, {IMMUTABLE if fresh else REVALIDATE}"}


def is_known(request: Request, etag: str) -> bool:
    """Whether the client already has this version (If-None-Match, weak comparison)."""
    given = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return "*" in tags or etag in tags


def open_original(image: Image, originals: Originals) -> OpenedOriginal:
    """The bytes that were indexed, or 410: a changed file is another picture than the one that was found."""
    try:
        return originals.open(image)
    except (OSError, SourceError, ImageRejected, NotFoundError) as error:
        if isinstance(error, ImageRejected) and error.reason == "changed":
            detail = f"The original of {image.image_id!r} has changed since it was indexed; index it again."
        else:
            detail = f"The original of {image.image_id!r} can no longer be read."
        raise Problem(410, detail) from error


def shown_as(head: bytes, image_id: str) -> dict[str, str]:
    """Headers of an original with these first bytes: browsers show what they know, and save the rest."""
    # By the first bytes, never by a name: only picture types, so that no page can be served from here.
    kind = media_type(head) or ANY_BYTES
    how = "attachment" if kind == ANY_BYTES else "inline"
    name = image_id.rpartition("/")[2]
    disposition = f"{how}; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Type": kind, "Content-Disposition": disposition}
