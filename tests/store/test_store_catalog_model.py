"""Random sequences of what jobs, workers, users and the builder do, against a model in plain Python.

The model knows nothing of tables: it holds versions of images and says after every step what is live, pending
and failed, what each job's progress is, and which lease may still publish.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from sightline.store.work_records import Failure, Lease, Progress
from tests.store.catalog_world import SOURCE, Builder, World, emptied, item, opened, sizes_of

IDS = [f"image {number}" for number in range(7)]
CONTENTS = ["red", "green", "blue"]
OWNERS = ["one", "two"]
STEPS = 120


@dataclass
class Version:
    """One registered version of one image, of which the catalog makes one row with one key."""

    image_id: str
    sha256: str
    caption: str | None
    job: str
    state: str = "pending"
    replaces: bool = False
    known_bytes: bool = True
    trashed_at: float = 0.0


@dataclass
class ModelTask:
    job: str
    versions: list[Version]
    state: str = "ready"
    holder: tuple[str, int] | None = None
    attempt: int = 0
    expires: float = 0.0


@dataclass
class ModelJob:
    state: str = "registering"
    sealed: bool = False
    unchanged: int = 0
    deleted: int = 0
    seen: set[str] = field(default_factory=set)


class Model:
    """What ought to be."""

    def __init__(self) -> None:
        self.versions: list[Version] = []
        self.tasks: dict[int, ModelTask] = {}
        self.jobs: dict[str, ModelJob] = {}

    def find(self, state: str, image_id: str) -> Version | None:
        return next((v for v in self.versions if (v.state, v.image_id) == (state, image_id)), None)

    def turn(self, image_id: str, to: str, *states: str) -> bool:
        """Turns the versions of an id that are in these states; whether there was any."""
        found = [v for v in self.versions if v.image_id == image_id and v.state in states]
        for version in found:
            version.state = to
        return bool(found)

    def trash(self, image_id: str, now: float) -> bool:
        """Whether there was a live version to delete."""
        live = self.find("live", image_id)
        if live is not None:
            live.state, live.trashed_at = "trashed", now
        return live is not None

    def restore(self, image_id: str) -> str:
        """The version that was deleted last, of two at once the later one, comes back; what came of it."""
        trashed = [v for v in self.versions if (v.state, v.image_id) == ("trashed", image_id)]
        if not trashed:
            return "not_found"
        if self.find("live", image_id) or self.find("pending", image_id):
            return "id_taken"
        latest = max(v.trashed_at for v in trashed)
        [v for v in trashed if v.trashed_at == latest][-1].state = "live"
        return "restored"

    def register(self, job_id: str, image_id: str, sha256: str, caption: str | None) -> Version | None:
        job, live = self.jobs[job_id], self.find("live", image_id)
        self.turn(image_id, "discarded", "pending", "failed")
        known = image_id in job.seen
        job.seen.add(image_id)
        if live is not None and live.sha256 == sha256:
            live.caption = caption or live.caption
            job.unchanged += not known
            return None
        inherited = caption or (live.caption if live else None)
        version = Version(image_id, sha256, inherited, job_id, replaces=live is not None)
        self.versions.append(version)
        return version

    def may_publish(self, lease: Lease, now: float) -> bool:
        task = self.tasks[lease.task_id]
        holds = task.state == "leased" and task.holder == (lease.owner, lease.attempt)
        return holds and task.expires > now

    def publish(self, lease: Lease, failed: set[str]) -> None:
        task = self.tasks[lease.task_id]
        for version in task.versions:
            if version.state == "pending" and version.image_id in failed:
                version.state = "failed"
            elif version.state == "pending":
                self.turn(version.image_id, "buried", "live")
                version.state = "live"
        task.state = "done"
        self.finish(task.job)

    def finish(self, job_id: str) -> None:
        job = self.jobs[job_id]
        still_open = any(t.job == job_id and t.state in ("ready", "leased") for t in self.tasks.values())
        if job.state == "running" and not still_open:
            job.state = "done"

    def progress(self, job_id: str) -> Progress:
        job = self.jobs[job_id]
        counted = Counter(
            ("published", v.replaces) if v.state in ("live", "trashed", "buried") else (v.state, False)
            for v in self.versions
            if v.job == job_id
        )
        numbers = (counted["published", False], job.unchanged, counted["published", True], job.deleted)
        rest = (counted["failed", False], counted["pending", False])
        return Progress(*numbers, *rest, sum(numbers) + sum(rest), job.state)  # type: ignore[arg-type]


class Play:
    """Takes every step in the catalog and in the model."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.catalog, self.builder = world, world.catalog, Builder(world)
        self.model, self.draw = Model(), random.Random(seed)
        self.leases: list[Lease] = []
        self.taken: Counter[str] = Counter()
        self.seen: list[tuple[int, str]] = []

    def job(self, *states: str) -> str | None:
        found = [name for name, job in self.model.jobs.items() if job.state in states]
        return self.draw.choice(found) if found else None

    def new_job(self) -> None:
        if sum(job.state == "registering" for job in self.model.jobs.values()) < 3:
            job = self.catalog.create_job(self.world.collection.id, "index", {})
            self.model.jobs[job.id] = ModelJob()

    def register(self) -> None:
        job_id = self.job("registering")
        if job_id is None:
            self.new_job()
            return
        names = self.draw.sample(IDS, self.draw.randint(1, 4))
        items = [item(name, self.draw.choice(CONTENTS), self.draw.choice([None, "x", "y"])) for name in names]
        size = self.draw.randint(1, 3)
        registered = self.catalog.register(job_id, items, batch_size=size)
        versions = [self.model.register(job_id, i.image_id, i.sha256, i.caption) for i in items]
        expected = ["unchanged" if version is None else "pending" for version in versions]
        assert [outcome for _, outcome in registered.outcomes] == expected
        fresh = [version for version in versions if version is not None]
        batches = [fresh[start : start + size] for start in range(0, len(fresh), size)]
        for task_id, batch in zip(registered.task_ids, batches, strict=True):
            self.model.tasks[task_id] = ModelTask(job_id, batch)

    def record_failure(self) -> None:
        if job_id := self.job("registering"):
            name = self.draw.choice(IDS)
            self.catalog.record_failures(job_id, [Failure(name, "/x", "unreadable", "no", SOURCE)])
            self.model.turn(name, "discarded", "failed")
            self.model.jobs[job_id].seen.add(name)
            self.model.versions.append(Version(name, "", None, job_id, "failed", known_bytes=False))

    def prune(self) -> None:
        if job_id := self.job("registering"):
            job = self.model.jobs[job_id]
            gone = [v for v in self.model.versions if v.state == "live" and v.image_id not in job.seen]
            for version in gone:
                version.state, version.trashed_at = "trashed", self.world.time
            job.deleted += len(gone)
            assert self.catalog.prune(job_id, SOURCE, most=len(gone)) == len(gone)

    def seal(self) -> None:
        if job_id := self.job("registering"):
            self.catalog.seal_job(job_id)
            self.model.jobs[job_id].state, self.model.jobs[job_id].sealed = "running", True
            self.model.finish(job_id)

    def cancel(self) -> None:
        job_id = self.job("registering", "running", "done")
        if job_id is None:
            return
        self.catalog.cancel_job(job_id)
        if self.model.jobs[job_id].state == "done":
            return
        self.model.jobs[job_id].state = "cancelled"
        for task in self.model.tasks.values():
            if task.job == job_id and task.state in ("ready", "leased"):
                task.state = "cancelled"
        for version in self.model.versions:
            if version.job == job_id and version.state == "pending":
                version.state = "discarded"

    def retry(self) -> None:
        job_id = self.job("registering", "running", "done")
        if job_id is None:
            return
        failed = [
            v
            for v in self.model.versions
            if (v.job, v.state, v.known_bytes) == (job_id, "failed", True)
            and not self.model.find("pending", v.image_id)
        ]
        task_ids = self.catalog.retry_job(job_id, batch_size=1)
        assert len(task_ids) == len(failed)
        for task_id, version in zip(task_ids, failed, strict=True):
            version.state, version.replaces = "pending", self.model.find("live", version.image_id) is not None
            self.model.tasks[task_id] = ModelTask(job_id, [version])
        if task_ids and self.model.jobs[job_id].sealed:
            self.model.jobs[job_id].state = "running"

    def acquire(self) -> None:
        if not self.model.tasks:
            return
        open_tasks = [
            number for number, task in self.model.tasks.items() if task.state in ("ready", "leased")
        ]
        task_id = self.draw.choice(open_tasks or list(self.model.tasks))
        task, owner, seconds = (
            self.model.tasks[task_id],
            self.draw.choice(OWNERS),
            self.draw.choice([5.0, 50.0]),
        )
        lease = self.catalog.acquire(task_id, owner, seconds)
        free = task.state == "ready" or (task.state == "leased" and task.expires <= self.world.time)
        assert (lease is not None) == free
        if lease is None:
            return
        task.state, task.attempt, task.expires = "leased", task.attempt + 1, self.world.time + seconds
        task.holder = (owner, task.attempt)
        pending = [(v.image_id, v.sha256) for v in task.versions if v.state == "pending"]
        assert sorted((image.image_id, image.sha256) for image in lease.images) == sorted(pending)
        self.leases.append(lease)

    def publish(self) -> None:
        if not self.leases:
            return
        lease = self.leases[-1] if self.draw.random() < 0.7 else self.draw.choice(self.leases)
        failed = {image.image_id for image in lease.images if self.draw.random() < 0.15}
        stored = [image.key for image in lease.images if image.image_id not in failed]
        failures = [(image.key, "broken", "no") for image in lease.images if image.image_id in failed]
        allowed = self.model.may_publish(lease, self.world.time)
        segment = self.builder.write(stored) if stored else None
        assert self.catalog.publish(lease, segment, failures, sizes_of(lease)) == allowed
        if allowed:
            self.model.publish(lease, failed)

    def work(self) -> None:
        """What most workers do most of the time."""
        self.acquire()
        self.publish()

    def renew_or_release(self) -> None:
        if not self.leases:
            return
        lease = self.draw.choice(self.leases)
        allowed, task = self.model.may_publish(lease, self.world.time), self.model.tasks[lease.task_id]
        if self.draw.random() < 0.5:
            assert self.catalog.renew(lease, 20.0) == allowed
            task.expires = self.world.time + 20.0 if allowed else task.expires
        else:
            self.catalog.release(lease)
            task.state = "ready" if allowed else task.state

    def pass_time(self) -> None:
        self.world.time += self.draw.choice([1.0, 5.0, 60.0])

    def expire(self) -> None:
        expired = [
            number
            for number, task in self.model.tasks.items()
            if task.state == "leased" and task.expires <= self.world.time
        ]
        assert self.catalog.expire_leases() == sorted(expired)
        for number in expired:
            self.model.tasks[number].state = "ready"

    def delete(self) -> None:
        names = self.draw.sample(IDS, 2)
        gone = 0
        for name in names:
            trashed = self.model.trash(name, self.world.time)
            gone += self.model.turn(name, "discarded", "pending", "failed") or trashed
        assert self.catalog.delete_images(self.world.collection.id, ids=names) == gone

    def restore(self) -> None:
        names = self.draw.choice([self.draw.sample(IDS, 2), None])
        outcomes = {name: self.model.restore(name) for name in names or IDS}
        done = self.catalog.restore_images(self.world.collection.id, names)
        found = {one.id: one.reason for one in done.refused} | dict.fromkeys(done.restored, "restored")
        if names is None:
            outcomes = {name: outcome for name, outcome in outcomes.items() if outcome != "not_found"}
        assert found == outcomes

    def empty(self) -> None:
        names = self.draw.choice([self.draw.sample(IDS, 2), None])
        gone = [v for v in self.model.versions if v.state == "trashed" and v.image_id in (names or IDS)]
        for version in gone:
            version.state = "buried"
        emptied = self.catalog.empty_trash(self.world.collection.id, names)
        assert sorted(emptied) == sorted(version.image_id for version in gone)

    def expire_trash(self) -> None:
        old = [
            v for v in self.model.versions if v.state == "trashed" and v.trashed_at <= self.world.time - 60
        ]
        for version in old:
            version.state = "buried"
        assert self.catalog.expire_trash(60.0) == len(old)

    def away_and_back(self) -> None:
        """The whole collection is deleted, nobody leases its tasks meanwhile, and then all is as it was."""
        self.catalog.delete_collection("pictures")
        free = [number for number, task in self.model.tasks.items() if task.state == "ready"]
        assert self.catalog.unsent_tasks(0.0, 1000) == []
        assert [self.catalog.acquire(number, "one", 5.0) for number in free] == [None] * len(free)
        assert self.catalog.collections() == []
        self.catalog.restore_collection("pictures")

    def update(self) -> None:
        name, caption = self.draw.choice(IDS), self.draw.choice(["edited", "edited again"])
        live = self.model.find("live", name)
        if live is not None:
            self.catalog.update_image("pictures", name, caption=caption)
            for version in (live, self.model.find("pending", name)):
                if version is not None:
                    version.caption = caption

    def fold(self) -> None:
        assert self.builder.fold()

    def merge(self) -> None:
        snapshot = self.catalog.snapshot("pictures")
        group = self.draw.choice([snapshot.covered, snapshot.uncovered])
        chosen = self.draw.sample(group, min(len(group), self.draw.randint(1, 3)))
        if chosen:
            assert self.builder.merge([segment.id for segment in chosen])

    def step(self) -> None:
        weighted: list[tuple[Callable[[], None], int]] = [
            (self.new_job, 2),
            (self.register, 8),
            (self.record_failure, 1),
            (self.prune, 1),
            (self.seal, 3),
            (self.cancel, 1),
            (self.retry, 2),
            (self.acquire, 4),
            (self.publish, 4),
            (self.work, 9),
            (self.renew_or_release, 2),
            (self.pass_time, 3),
            (self.expire, 2),
            (self.delete, 4),
            (self.restore, 3),
            (self.empty, 1),
            (self.expire_trash, 1),
            (self.away_and_back, 1),
            (self.update, 2),
            (self.fold, 2),
            (self.merge, 2),
        ]
        [move] = self.draw.choices([m for m, _ in weighted], [w for _, w in weighted])
        self.taken[move.__name__] += 1
        before, version = self.seen, self.world.version()
        move()
        self.compare()
        assert self.seen == before or self.world.version() > version

    def compare(self) -> None:
        for state in ("failed", "trashed", "pending", "live"):
            images = self.catalog.images("pictures", limit=100, state=state).items
            assert sorted((i.image_id, i.sha256, i.caption or "") for i in images) == sorted(
                (v.image_id, v.sha256, v.caption or "") for v in self.model.versions if v.state == state
            ), state
        self.seen = sorted((image.key, image.caption or "") for image in images)
        for job_id in self.draw.sample(list(self.model.jobs), min(2, len(self.model.jobs))):
            assert self.catalog.job_progress(job_id) == self.model.progress(job_id)
        self.builder.expect_exactly_the_live()


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_whatever_happens_in_whatever_order_the_catalog_does_what_the_model_says(
    shared: World, seed: int
) -> None:
    with emptied(shared) as world:
        play = Play(world, seed)
        for number in range(STEPS):
            play.step()
            if number % 20 == 0:
                assert world.catalog.check() == []
        assert world.catalog.check() == []
        # It was an eventful play: nearly every move was made, and images came, were replaced and went.
        assert len(play.taken) >= 18
        assert len({version.state for version in play.model.versions}) >= 4
        assert sum(version.state == "buried" for version in play.model.versions) >= 3
        assert play.taken["restore"] >= 3
