"""A catalog with many images that were never pictures: rows, placements and metadata, without any file."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sightline.store.catalog import Catalog
from sightline.store.records import Collection, NewSegment
from sightline.store.work_records import Registration

COLLECTION = "bench"
SOURCE = "/bench"
BATCH = 256
"""Images that are registered together, as a listing does."""
PER_TASK = 32


def create_bench(catalog: Catalog) -> Collection:
    """The collection that is filled."""
    return catalog.create_collection(
        COLLECTION, model="none", revision=None, fingerprint="bench", num_query_tokens=32, joint_dim=256
    )


def registrations(first: int, count: int) -> Iterator[Registration]:
    """Images with metadata as cameras and people give it, the same for the same number."""
    for number in range(first, first + count):
        draw = random.Random(number)
        name = f"album {number % 997}/{number:07d}.jpg"
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        yield Registration(name, sha256, f"{SOURCE}/{name}", 100_000, None, _metadata(draw), SOURCE)


def _metadata(draw: random.Random) -> dict[str, Any]:
    return {
        "year": 1925 + draw.randrange(100),
        "camera": f"Camera {draw.randrange(10)}",
        "indoor": draw.random() < 0.5,
        "tags": [f"tag {draw.randrange(1_000)}", f"tag {draw.randrange(1_000)}"],
        "gps": {"lat": draw.uniform(-90, 90), "lon": draw.uniform(-180, 180)},
    }


def register(catalog: Catalog, job_id: str, images: Iterator[Registration]) -> list[int]:
    """Registers all of them in batches; their tasks."""
    tasks: list[int] = []
    while batch := list(islice(images, BATCH)):
        tasks += catalog.register(job_id, batch, batch_size=PER_TASK).task_ids
    return tasks


def publish(catalog: Catalog, tasks: Sequence[int]) -> None:
    """Makes the images of these tasks live, in segments of which no file is written."""
    for task in tasks:
        lease = catalog.acquire(task, "bench", 600.0, ["embed"])
        if lease is None:
            raise RuntimeError(f"Somebody else took task {task} of the bench.")
        keys = [image.key for image in lease.images]
        name = hashlib.sha256(f"{task}".encode()).hexdigest()
        segment = NewSegment(f"{name}.safetensors", name, "fp16", 1, keys)
        catalog.publish(lease, segment, sizes=dict.fromkeys(keys, (640, 480)))


def add_images(catalog: Catalog, collection: Collection, first: int, count: int) -> None:
    """So many live images more, from number ``first`` on."""
    job = catalog.create_job(collection.id, "index", {})
    tasks = register(catalog, job.id, registrations(first, count))
    catalog.seal_job(job.id)
    publish(catalog, tasks)
