"""From files to searchable rows, in one process: what is embedded, copied, refused, and never done twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.indexer.indexer import Indexer
from sightline.indexer.tasks import Outcome
from tests.indexer.world import COLLECTION, Knobs, World, picture, problems


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, Knobs(indexer={"batch_size": 4}))
    world.create()
    yield world
    world.close()


def indexed(world: World, **options: Any) -> Any:
    """Index the world's pictures to the end; the job's counts."""
    job = world.index(**options)
    world.indexer.run_pending()
    return world.catalog.job_progress(job.id)


def errors(world: World) -> dict[str, str]:
    """Failed image id → reason, of the newest job."""
    return {error.id: error.reason for error in world.catalog.job_errors(world.catalog.jobs()[0].id)}


def test_every_picture_is_live_once_with_its_own_tokens_size_and_thumbnail(world: World) -> None:
    names = world.draw(10)
    progress = indexed(world)
    assert (progress.indexed, progress.failed, progress.pending, progress.state) == (10, 0, 0, "done")
    assert problems(world, names) == []
    assert {(image.width, image.height) for image in world.live()} == {(8, 8)}
    assert all(world.blobs.has_thumbnail(image.sha256) for image in world.live())


def test_patches_are_kept_in_the_row_of_their_picture(world: World) -> None:
    world.draw(6)
    indexed(world)
    live = {image.image_id: image for image in world.live()}
    places = world.catalog.locations([image.key for image in live.values()])
    for image in live.values():
        patches = world.segments.gather([places[image.key]])[0].patches[0]
        tokens = world.models.toy.encode_image(as_batch(patches))[0].half().numpy()
        keys, stored = world.segments.tokens(places[image.key].file)
        assert np.array_equal(stored[keys.tolist().index(image.key)], tokens)


def as_batch(patches: Any) -> Any:
    import torch

    return torch.from_numpy(np.array(patches))[None].float()


def test_the_same_bytes_again_are_no_work_and_no_model(world: World) -> None:
    world.draw(6)
    indexed(world)
    loads, segments = world.models.loads, sorted((world.data / "segments").iterdir())
    progress = indexed(world)
    assert (progress.unchanged, progress.indexed, progress.state) == (6, 0, "done")
    assert world.models.loads == loads
    assert sorted((world.data / "segments").iterdir()) == segments


def test_new_bytes_under_an_old_id_replace_it(world: World) -> None:
    names = world.draw(5)
    indexed(world)
    before = {image.image_id: image.key for image in world.live()}
    (world.pictures / names[2]).write_bytes(picture(999))
    progress = indexed(world)
    assert (progress.replaced, progress.unchanged) == (1, 4)
    after = {image.image_id: image.key for image in world.live()}
    assert {name for name in names if before[name] != after[name]} == {names[2]}
    assert problems(world, names) == []


def test_the_same_bytes_under_another_id_are_copied_without_the_model(world: World) -> None:
    names = world.draw(3)
    indexed(world)
    seen = world.models.toy.seen
    (world.pictures / "copy.png").write_bytes((world.pictures / names[1]).read_bytes())
    assert indexed(world).indexed == 1
    assert world.models.toy.seen == seen
    live = {image.image_id: image for image in world.live()}
    assert (live["copy.png"].width, live["copy.png"].height) == (8, 8)
    places = world.catalog.locations([live["copy.png"].key, live[names[1]].key])
    copy, original = (world.segments.gather([place])[0].patches for place in places.values())
    assert np.array_equal(copy, original)
    assert problems(world, [*names, "copy.png"]) == []


def test_the_same_bytes_twice_in_one_batch_pass_the_model_once(world: World) -> None:
    names = world.draw(2)
    (world.pictures / "twin.png").write_bytes((world.pictures / names[0]).read_bytes())
    indexed(world)
    assert world.models.toy.seen == 2
    assert problems(world, [*names, "twin.png"]) == []


def test_a_damaged_segment_is_not_copied_from(world: World) -> None:
    names = world.draw(1)
    indexed(world)
    segment = next((world.data / "segments").iterdir())
    segment.write_bytes(b"damaged")
    world.segments.forget(segment.name)
    (world.pictures / "copy.png").write_bytes((world.pictures / names[0]).read_bytes())
    seen = world.models.toy.seen
    assert indexed(world).indexed == 1
    assert world.models.toy.seen == seen + 1


def test_broken_pictures_fail_alone_each_with_its_reason(world: World) -> None:
    names = world.draw(4)
    (world.pictures / "00000b.png").write_bytes(b"GIF89a no picture at all")
    (world.pictures / "00001b.png").write_bytes(picture(77)[:60])
    progress = indexed(world)
    assert (progress.indexed, progress.failed, progress.state) == (4, 2, "done")
    assert errors(world).keys() == {"00000b.png", "00001b.png"}
    assert problems(world, names) == []


def test_an_original_that_changed_after_registration_is_not_embedded(world: World) -> None:
    names = world.draw(3)
    job = world.index()
    (world.pictures / names[0]).write_bytes(picture(500))
    (world.pictures / names[1]).unlink()
    world.indexer.run_pending()
    assert errors(world) == {names[0]: "changed", names[1]: "unreadable"}
    assert world.catalog.job_progress(job.id).state == "done"
    assert problems(world, names[2:]) == []


def test_a_copied_original_outlives_its_source(world: World) -> None:
    names = world.draw(3)
    world.index(copy=True)
    for name in names:
        (world.pictures / name).unlink()
    world.indexer.run_pending()
    assert problems(world, names) == []
    assert all(image.uri == f"blob:{image.sha256}" for image in world.live())


def test_an_unexpected_error_is_tried_three_times_then_fails_each_picture_with_its_sentence(
    world: World,
) -> None:
    world.draw(2)
    tries = 0

    def out_of_memory() -> None:
        nonlocal tries
        tries += 1
        raise MemoryError("the device is full")

    world.models.toy.before = out_of_memory
    job = world.index()
    world.indexer.run_pending()
    assert tries == 3 + 2  # as a whole, then each half once more
    lines = world.catalog.job_errors(job.id)
    assert {(line.reason, line.detail) for line in lines} == {("internal", "MemoryError: the device is full")}
    assert world.catalog.job(job.id).state == "done"


def test_a_failed_batch_can_be_retried(world: World) -> None:
    names = world.draw(2)
    world.models.toy.before = lambda: 1 / 0  # type: ignore[assignment,return-value]
    job = world.index()
    world.indexer.run_pending()
    world.models.toy.before = lambda: None
    assert world.indexer.retry(job.id).state == "running"
    world.indexer.run_pending()
    assert world.catalog.job_progress(job.id).indexed == 2
    assert problems(world, names) == []


def test_an_error_that_passes_costs_nothing(world: World) -> None:
    names = world.draw(2)
    tries = iter([OSError("a hiccup")])

    def hiccup() -> None:
        for error in tries:
            raise error

    world.models.toy.before = hiccup
    assert indexed(world).indexed == 2
    assert problems(world, names) == []


def test_a_worker_of_another_model_embeds_nothing(world: World) -> None:
    world.draw(1)
    job = world.index()
    world.models.toy.fingerprint = "another"
    world.indexer.run_pending()
    [line] = world.catalog.job_errors(job.id)
    assert "This worker's model is not that of the collection pictures" in line.detail


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def test_a_worker_that_slept_through_its_lease_publishes_nothing_and_leaves_no_file(tmp_path: Path) -> None:
    clock = Clock()
    world = World(tmp_path, now=clock)
    world.create()
    names = world.draw(3)
    other = World(tmp_path, now=clock)
    world.index()
    [task_id] = world.catalog.unsent_tasks(0, 10)

    def sleep_while_another_works() -> None:
        clock.time += 61
        assert other.indexer.tasks.run(task_id, "the other") is Outcome.PUBLISHED

    world.models.toy.before = sleep_while_another_works
    assert world.indexer.tasks.run(task_id, "the sleeper") is not Outcome.PUBLISHED
    assert len(list((tmp_path / "segments").iterdir())) == 1
    assert problems(world, names) == []
    world.close()
    other.close()


def test_what_is_cancelled_or_deleted_while_the_model_works_is_never_found(world: World) -> None:
    names = world.draw(3)
    job = world.index()
    world.models.toy.before = lambda: world.catalog.cancel_job(job.id)
    world.indexer.run_pending()
    assert problems(world, []) == []
    assert world.catalog.job(job.id).state == "cancelled"

    world.models.toy.before = lambda: None
    indexed(world)
    (world.pictures / names[0]).write_bytes(picture(300))
    bound = world.catalog.collection(COLLECTION)
    world.models.toy.before = lambda: bool(world.catalog.delete_images(bound.id, [names[0]])) and None  # type: ignore[func-returns-value]
    indexed(world)
    assert problems(world, names[1:]) == []


def test_work_is_done_while_the_source_is_still_being_listed(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs(indexer={"batch_size": 2, "register_batch": 4}))
    world.create()
    names = world.draw(10)
    done: list[int] = []

    class Immediately:
        """A queue whose worker is as fast as the registration."""

        def __call__(self, task_ids: Any) -> None:
            worker = World(tmp_path)
            outcomes = {task_id: worker.indexer.tasks.run(task_id, "worker") for task_id in task_ids}
            done.extend(task_id for task_id, one in outcomes.items() if one is Outcome.PUBLISHED)
            worker.close()
            registering.append(world.catalog.jobs()[0].state)

    registering: list[str] = []
    eager = Indexer(replace(world.parts, send=Immediately()))
    job = eager.index([str(world.pictures)], COLLECTION)
    assert len(done) == 5
    assert registering == ["registering"] * 3
    assert eager.wait(job.id).indexed == 10
    assert problems(world, names) == []
    world.close()


def test_waiting_without_a_queue_does_the_work_and_reports_it(world: World) -> None:
    world.draw(9)
    seen: list[tuple[int, str]] = []
    job = world.index()
    progress = world.indexer.wait(job.id, lambda now: seen.append((now.indexed, now.state)))
    assert seen == [(4, "running"), (8, "running"), (9, "done")]
    assert progress.indexed == 9


def test_an_interrupted_worker_gives_its_lease_back(world: World) -> None:
    names = world.draw(2)
    world.index()

    def interrupt() -> None:
        raise KeyboardInterrupt

    world.models.toy.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.indexer.run_pending()
    world.models.toy.before = lambda: None
    assert world.indexer.run_pending() == 1
    assert problems(world, names) == []
