"""A catalog with a clock that tests turn by hand, and the few moves that every test needs."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sightline.store.catalog import Catalog, open_catalog
from sightline.store.records import Collection, Generation, Job, NewSegment
from sightline.store.work_records import Lease, Registration

SOURCE = "/pictures"


def sha_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def item(image_id: str, content: str = "", caption: str | None = None, **metadata: Any) -> Registration:
    """An image whose bytes are ``content`` (its id when left out), from the source ``/pictures``."""
    content = content or image_id
    uri = f"{SOURCE}/{image_id}"
    return Registration(image_id, sha_of(content), uri, len(content), caption, metadata, SOURCE)


def sizes_of(lease: Lease) -> dict[int, tuple[int, int]]:
    """Every picture of these tests has 40 × 30 pixels."""
    return {image.key: (40, 30) for image in lease.images}


@dataclass
class Clock:
    """Stands still until a test moves it."""

    time: float = 1_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class World:
    """One collection, "pictures", in a catalog whose time the test owns."""

    catalog: Catalog
    clock: Clock

    @property
    def time(self) -> float:
        return self.clock.time

    @time.setter
    def time(self, time: float) -> None:
        self.clock.time = time

    @property
    def collection(self) -> Collection:
        return self.catalog.collection("pictures")

    def job(self, *items: Registration, batch_size: int = 10, seal: bool = True) -> tuple[Job, list[int]]:
        """An index job with these items; its task ids."""
        job = self.catalog.create_job(self.collection.id, "index", {})
        tasks = self.catalog.register(job.id, items, batch_size=batch_size).task_ids
        if seal:
            self.catalog.seal_job(job.id)
        return job, tasks

    def lease(self, task: int, owner: str = "worker", seconds: float = 60.0) -> Lease:
        kinds = [self.catalog.task(task).kind]
        lease = self.catalog.acquire(task, owner, seconds, kinds)
        assert lease is not None
        return lease

    def segment(self, keys: Sequence[int]) -> NewSegment:
        """A segment (no file is written) with these keys in rows 0, 1, …"""
        name = f"{uuid.uuid4().hex}.safetensors"
        return NewSegment(name, sha_of(name), "fp16", 100 * len(keys), list(keys))

    def publish(self, lease: Lease, failed: Sequence[str] = ()) -> bool:
        """Publishes all of the lease's images but those with these ids, which fail."""
        stored = [image.key for image in lease.images if image.image_id not in failed]
        failures = [
            (image.key, "truncated", f"{image.image_id} ends early")
            for image in lease.images
            if image.image_id in failed
        ]
        segment = self.segment(stored) if stored else None
        return self.catalog.publish(lease, segment, failures, sizes_of(lease))

    def add(self, *items: Registration, batch_size: int = 10) -> Job:
        """Registers, embeds and publishes: the job is done afterwards."""
        job, tasks = self.job(*items, batch_size=batch_size)
        for task in tasks:
            assert self.publish(self.lease(task))
        return self.catalog.job(job.id)

    def prune(self, job: Job) -> int:
        """Whatever the job has not met in its source."""
        return self.catalog.prune(job.id, SOURCE, most=1_000_000)

    def live(self) -> dict[str, int]:
        """image id → key."""
        return {image.image_id: image.key for image in self.catalog.images("pictures", limit=1000).items}

    def dead(self) -> set[int]:
        return {int(key) for key in self.catalog.snapshot("pictures").dead}

    def gone(self) -> set[int]:
        """The dead keys that are not in the trash."""
        return {int(key) for key in self.catalog.snapshot("pictures").gone}

    def trashed(self) -> dict[str, int]:
        """image id → key, of the version that was deleted last."""
        images = self.catalog.images("pictures", limit=1000, state="trashed").items
        return {
            image.image_id: image.key for image in sorted(images, key=lambda one: (one.trashed_at, one.key))
        }

    def lose(self, *names: str) -> None:
        """Deletes them, and gives up what is in the trash under these names."""
        self.catalog.delete_images(self.collection.id, ids=names)
        self.catalog.empty_trash(self.collection.id, ids=names)

    def version(self) -> int:
        return self.catalog.version("pictures")[1]


def create_pictures(catalog: Catalog) -> Collection:
    return catalog.create_collection(
        "pictures", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )


@contextmanager
def opened(url: str) -> Iterator[World]:
    """A catalog for several tests; each takes it through ``emptied``."""
    clock = Clock()
    catalog = open_catalog(url, now=clock)
    try:
        yield World(catalog, clock)
    finally:
        catalog.close()


@contextmanager
def emptied(world: World) -> Iterator[World]:
    """No collection but an empty "pictures"; checks the catalog's invariants when the test is over."""
    for collection in world.catalog.collections():
        world.catalog.delete_collection(collection.name)
    for one in world.catalog.trashed_collections():
        world.catalog.empty_collection(one.id)
    world.time = 1_000.0
    create_pictures(world.catalog)
    yield world
    assert world.catalog.check() == []


class Builder:
    """Keeps the files that a catalog only names: file → keys, and searches as a retriever would."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files: dict[str, list[int]] = {}

    def write(self, keys: Sequence[int]) -> NewSegment:
        """A file with these keys in rows 0, 1, …"""
        segment = self.world.segment(keys)
        self.files[segment.file] = list(keys)
        return segment

    def add(self, *names: str) -> int:
        """Publishes these images in one segment; its id."""
        _, [task] = self.world.job(*(item(name, name + str(len(self.files))) for name in names))
        lease = self.world.lease(task)
        segment = self.write([image.key for image in lease.images])
        assert self.world.catalog.publish(lease, segment, sizes=sizes_of(lease))
        return max(segment.id for segment in self.world.catalog.snapshot("pictures").uncovered)

    def fold(self, covered: Sequence[int] | None = None) -> bool:
        """A generation over all published segments, or over these."""
        snapshot = self.world.catalog.snapshot("pictures")
        segments = [s for s in snapshot.segments if covered is None or s.id in covered]
        number = snapshot.generation.number if snapshot.generation else 0
        keys = sorted({key for segment in segments for key in self.files[segment.file]} - self.world.gone())
        file = f"generation-{number + 1}-{sha_of(str(keys))[:8]}"
        self.files[file] = keys
        ids = tuple(segment.id for segment in segments) if covered is None else tuple(covered)
        feature_set = snapshot.collection.feature_set_id
        made = Generation(feature_set, number + 1, file, sha_of(file), ids, len(keys), self.world.time)
        return self.world.catalog.publish_generation(snapshot.collection.id, number, made)

    def generation(
        self, kind: str, number: int, covered: Sequence[int], parameters: dict[str, Any] | None = None
    ) -> Generation:
        """A generation that is not published, of any kind."""
        feature_set, file = self.world.collection.feature_set_id, uuid.uuid4().hex
        return Generation(
            feature_set, number, file, sha_of(file), tuple(covered), 1, 0.0, kind, parameters or {}
        )

    def merge(self, old_ids: Sequence[int], keep: Sequence[int] | None = None) -> bool:
        """Rewrites these segments without the keys that are gone, or with exactly ``keep``."""
        snapshot = self.world.catalog.snapshot("pictures")
        old = [s for s in snapshot.segments if s.id in old_ids]
        kept = [key for s in old for key in self.files[s.file] if key not in self.world.gone()]
        keys = kept if keep is None else list(keep)
        new = self.write(keys) if keys else None
        return self.world.catalog.replace_segments(snapshot.collection.id, old_ids, new)

    def search(self) -> list[int]:
        """All keys that a query meets; a key that is met twice is there twice."""
        snapshot = self.world.catalog.snapshot("pictures")
        found = list(self.files[snapshot.generation.file]) if snapshot.generation else []
        for segment in snapshot.uncovered:
            found += self.files[segment.file]
        dead = {int(key) for key in snapshot.dead}
        return sorted(key for key in found if key not in dead)

    def expect_exactly_the_live(self) -> None:
        assert self.search() == sorted(self.world.live().values())
        places = self.world.catalog.locations(list(self.world.live().values()))
        for key, place in places.items():
            assert self.files[place.file][place.row] == key
        assert places.keys() == set(self.world.live().values())
