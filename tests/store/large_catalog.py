"""A catalog with very many images, made in seconds: rows written by hand, real segments of small tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, text

from sightline.store.backends import open_indexes
from sightline.store.catalog import Catalog
from sightline.store.index import BuildRequest, Indexes
from sightline.store.records import Collection, Generation, NewSegment
from sightline.store.segments import SegmentReader, write_segment
from sightline.store.sql.publishing import insert_segment
from sightline.store.sql.rows import IMAGES, PLACEMENTS
from tests.store.catalog_world import create_pictures

PER_SEGMENT = 1_000
DEAD_EVERY = 20
SHAPE = (4, 8)
"""Q, D of the collection "pictures" of `catalog_world`."""


def fill(catalog: Catalog, folder: Path, images: int, per_segment: int = PER_SEGMENT) -> Indexes:
    """So many images in "pictures", every twentieth deleted for good, all but the last segment folded.

    Segments lie in ``folder/segments``, the generation in ``folder/generations``: of its backends.
    """
    collection = create_pictures(catalog)
    job = catalog.create_job(collection.id, "index", {})
    for start in range(0, images, per_segment):
        keys = np.arange(start + 1, min(images, start + per_segment) + 1)
        segment = write_segment(folder / "segments", keys, tokens(keys), None, "none")
        rows = list(_rows(collection, job.id, keys))
        catalog.database.write(lambda connection: _insert(connection, collection, segment, rows))  # noqa: B023
    catalog.seal_job(job.id)
    indexes = open_indexes(folder / "generations")
    _fold(catalog, SegmentReader(folder / "segments"), indexes)
    return indexes


def tokens(keys: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    """Unit vectors fp16 ``[N,Q,D]``, the same for the same keys."""
    drawn = np.random.default_rng(int(keys[0])).standard_normal((len(keys), *SHAPE)).astype(np.float32)
    return (drawn / np.linalg.norm(drawn, axis=2, keepdims=True)).astype(np.float16)


def _rows(collection: Collection, job_id: str, keys: Any) -> Iterator[dict[str, Any]]:
    for key in keys.tolist():
        yield {
            "key": key, "collection_id": collection.id, "image_id": f"folder/{key:08}.jpg",
            "sha256": hashlib.sha256(str(key).encode()).hexdigest(), "uri": f"/pictures/folder/{key:08}.jpg",
            "metadata": {"number": key}, "width": 40, "height": 30, "bytes": 1000, "job_id": job_id,
            "state": "live" if key % DEAD_EVERY else "buried", "created_at": 1.0, "published_at": 2.0,
        }  # fmt: skip


def _insert(
    connection: Connection, collection: Collection, segment: NewSegment, rows: list[dict[str, Any]]
) -> None:
    connection.execute(insert(IMAGES), rows)
    segment_id = insert_segment(connection, 2.0, collection.feature_set_id, segment)
    placed = {"feature_set_id": collection.feature_set_id, "segment_id": segment_id}
    places = [
        {**placed, "key": one["key"], "row": row, "dead": one["state"] == "buried"}
        for row, one in enumerate(rows)
    ]
    connection.execute(insert(PLACEMENTS), places)
    connection.execute(text("UPDATE collections SET version = version + 1"))


def _fold(catalog: Catalog, reader: SegmentReader, indexes: Indexes) -> None:
    snapshot = catalog.snapshot("pictures")
    built = indexes.of().build(reader, BuildRequest(snapshot.segments[:-1], snapshot.dead))
    feature_set = snapshot.collection.feature_set_id
    made = Generation(feature_set, 1, built.file, built.sha256, built.covered, built.images, 3.0)
    assert catalog.publish_generation(snapshot.collection.id, 0, made)
