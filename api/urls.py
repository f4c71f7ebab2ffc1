"""Addresses of images: how an image id, which may hold slashes, becomes one path segment and comes back.

Clients write ``/images/holiday%2Fdog.jpg`` (always right) or ``/images/holiday/dog.jpg`` (right unless the id
itself ends in ``/file``, ``/thumbnail`` or ``/explanation``). ASGI servers decode ``%2F`` before routing, so
the path is put together again from the raw one: see ``canonical_path``.

Clients take ``.`` and ``..`` out of an address, percent-encoded too: no image gets such an id any more, and
one that has it from before is addressed as ``%252E``, ``%252E%252E``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from sightline.store.values import DOTS, DOTS_IN_ADDRESSES

UPLOADS = re.compile(r"/v1/collections/[^/]+/images")
EVENTS = re.compile(r"/v1/(jobs|collections/[^/]+/saved-searches)/[^/]+/events")
SEARCHES = re.compile(r"/v1/collections/[^/]+/search(/image)?")
RERANKS = frozenset({"/rerank", "/v1/rerank", "/v2/rerank", "/score", "/v1/score"})
"""Addresses that score pictures of the request, as other rerankers have them."""
ASPECTS = ("file", "thumbnail", "explanation")


def path_of(scope: Mapping[str, Any]) -> str:
    """The path that an ASGI scope asks for, below the prefix of the proxy."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def is_upload(scope: Mapping[str, Any]) -> bool:
    """Whether an HTTP request brings pictures to keep."""
    return scope["method"] == "POST" and UPLOADS.fullmatch(path_of(scope)) is not None


def is_search(scope: Mapping[str, Any]) -> bool:
    """Whether an HTTP request searches, with a picture maybe."""
    return scope["method"] == "POST" and SEARCHES.fullmatch(path_of(scope)) is not None


def is_following(scope: Mapping[str, Any]) -> bool:
    """Whether an HTTP request follows a job, or who joins a saved search."""
    return scope["method"] == "GET" and EVENTS.fullmatch(path_of(scope)) is not None


def collection_url(name: str, root: str = "") -> str:
    """The address of a collection."""
    return f"{root}/v1/collections/{quote(name, safe='')}"


def image_url(collection: str, image_id: str, root: str = "") -> str:
    """The address of an image's record."""
    plain = image_id.replace(".", "%2E") if image_id in DOTS else image_id
    return f"{collection_url(collection, root)}/images/{quote(plain, safe='')}"


def file_url(collection: str, image_id: str, sha256: str, root: str = "") -> str:
    """The address of the original's bytes; ``v`` makes it immutable."""
    return f"{image_url(collection, image_id, root)}/file?v={sha256[:16]}"


def thumbnail_url(collection: str, image_id: str, sha256: str, root: str = "") -> str:
    """The address of the thumbnail; ``v`` makes it immutable."""
    return f"{image_url(collection, image_id, root)}/thumbnail?v={sha256[:16]}"


def job_url(job_id: str, root: str = "") -> str:
    """The address of a job."""
    return f"{root}/v1/jobs/{quote(job_id, safe='')}"


def escape(text: str) -> str:
    """One path segment of a *decoded* path: ``/`` and ``%`` escaped, so that ``unescape`` is unambiguous."""
    return text.replace("%", "%25").replace("/", "%2F")


def unescape(segment: str) -> str:
    """Undo ``escape``."""
    return segment.replace("%2F", "/").replace("%25", "%")


def canonical_path(raw: str) -> str | None:
    """The path to route by, for a raw path below ``/v1/collections/NAME/images/``; None for others.

    Raises UnicodeDecodeError for an address that is not UTF-8: no id is called so.

    >>> canonical_path("/v1/collections/c/images/a%2Fb.jpg/file")
    '/v1/collections/c/images/a%2Fb.jpg/file'
    >>> canonical_path("/v1/collections/c/images/a/b.jpg")
    '/v1/collections/c/images/a%2Fb.jpg'
    >>> canonical_path("/v1/collections/c/images/100%25%2Ffile")
    '/v1/collections/c/images/100%25%2Ffile'
    """
    parts = raw.split("/")
    if parts[:3] != ["", "v1", "collections"] or len(parts) < 6 or parts[4] != "images":
        return None
    rest = parts[5:]
    aspect = rest.pop() if len(rest) > 1 and rest[-1] in ASPECTS else None
    image_id = "/".join(unquote(part, errors="strict") for part in rest)
    if image_id in DOTS_IN_ADDRESSES:
        image_id = image_id.replace("%2E", ".")
    head = "/".join(unquote(part) for part in parts[:5])
    return "/".join([head, escape(image_id)] + ([aspect] if aspect else []))
