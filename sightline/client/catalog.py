"""Requests about what is stored: collections, images, jobs, and whether searches can be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.client.calls import (
    Call,
    Json,
    as_json,
    document,
    items,
    job_told,
    listed,
    nothing,
    of_collection,
    of_image,
    of_job,
    page,
    query_of,
)


def collections() -> Call[list[Json]]:
    """All collections that the key is for."""
    return Call("GET", "/v1/collections", items)


def collection(name: str) -> Call[Json]:
    """One collection: its model, its counts, its index."""
    return Call("GET", of_collection(name), document)


def create(name: str, *, model: str | None = None, revision: str | None = None) -> Call[Json]:
    """Make a collection, or find the one that has this name and model."""
    return Call("POST", "/v1/collections", document, {"name": name, "model": model, "revision": revision})


def image(collection: str, image_id: str) -> Call[Json]:
    """The record of one image."""
    return Call("GET", of_image(collection, image_id), document)


def image_bytes(collection: str, image_id: str) -> Call[bytes]:
    """The bytes of an image's original."""
    return Call("GET", f"{of_image(collection, image_id)}/file", bytes)


def thumbnail(collection: str, image_id: str) -> Call[bytes]:
    """A small WebP of an image."""
    return Call("GET", f"{of_image(collection, image_id)}/thumbnail", bytes)


def images_page(
    collection: str, cursor: str | None, limit: int, filter: Mapping[str, Any] | None
) -> Call[Json]:
    """One page of the images: ``items``, and the ``next_cursor`` that the next page begins at."""
    wanted = {
        "cursor": cursor,
        "limit": limit,
        "filter": None if filter is None else as_json(dict(filter)),
    }
    return Call("GET", f"{of_collection(collection)}/images{query_of(wanted)}", page)


def upload(
    collection: str, files: Sequence[tuple[str, bytes]], items: Sequence[Mapping[str, Any]] | None = None
) -> Call[Json]:
    """Add pictures, (file name, bytes) each; the answer has the ``job`` that embeds them, and a line of each.

    ``items``, one for each file, say its ``id``, ``caption`` and ``metadata``; without an id it is the
    SHA-256 of the bytes.
    """
    form = {} if items is None else {"items": as_json([dict(one) for one in items])}
    return Call("POST", f"{of_collection(collection)}/images", document, files=files, form=form)


def index(
    collection: str, sources: str | Sequence[str], *, copy: bool = False, prune: bool = False
) -> Call[Json]:
    """Index what the server can read, below its own roots; the answer is the job."""
    body = {"sources": listed(sources), "copy": copy, "prune": prune}
    return Call("POST", f"{of_collection(collection)}/jobs", document, body)


def delete(collection: str, image_id: str, *, purge: bool = False) -> Call[None]:
    """Move an image to the trash, or purge it."""
    return Call("DELETE", f"{of_image(collection, image_id)}{query_of({'purge': purge or None})}", nothing)


def delete_collection(name: str, *, purge: bool = False) -> Call[None]:
    """Move a collection to the trash with all that it has, or purge it."""
    return Call("DELETE", f"{of_collection(name)}{query_of({'purge': purge or None})}", nothing)


def jobs(collection: str | None = None, *, limit: int = 50) -> Call[list[Json]]:
    """The newest jobs first."""
    return Call("GET", f"/v1/jobs{query_of({'collection': collection, 'limit': limit})}", items)


def job(job_id: str) -> Call[Json]:
    """One job: its state, its counts, its first failures."""
    return Call("GET", of_job(job_id), job_told)


def cancel(job_id: str) -> Call[Json]:
    """Stop a job: what was published stays, the rest is dropped."""
    return Call("POST", f"{of_job(job_id)}/cancel", document)


def retry(job_id: str) -> Call[Json]:
    """Try the failed images of a job again."""
    return Call("POST", f"{of_job(job_id)}/retry", document)


def ready() -> Call[Json]:
    """Whether searches can be answered now: ``status`` is ``ready`` or ``not ready``, ``checks`` say why."""
    return Call("GET", "/readyz", document, also=(503,))
