"""Whose an id is, in SQL: who may take it, where unchanged bytes are, what a source has and has lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sightline.errors import ConflictError, InputError, NotFoundError
from sightline.store.records import UPLOADED
from sightline.store.values import MAX_ID_BYTES
from sightline.store.work_records import Failure, Pruning, Registration
from tests.store.catalog_world import World, emptied, item, opened, sha_of


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def at(source: str | None, name: str, content: str = "") -> Registration:
    """An image of another source than ``item`` gives, at an address below it."""
    return replace(item(name, content), source=source, uri=f"{source or '/somewhere'}/{name}")


def outcomes(world: World, *items: Registration) -> list[str]:
    job = world.catalog.create_job(world.collection.id, "index", {})
    registered = world.catalog.register(job.id, items, batch_size=10)
    world.catalog.cancel_job(job.id)
    return [outcome for _, outcome in registered.outcomes]


@pytest.mark.parametrize(
    ("held_by", "comes_from", "content", "outcome"),
    [
        ("/a", "/a", "new", "pending"),
        ("/a", "/b", "new", "id_taken"),
        ("/a", "/b", "x", "unchanged"),
        ("/a", None, "new", "pending"),
        ("/a", UPLOADED, "new", "id_taken"),
        (UPLOADED, UPLOADED, "new", "pending"),
        (UPLOADED, "/a", "new", "id_taken"),
        (None, UPLOADED, "new", "pending"),
        (None, "/a", "new", "id_taken"),
        (None, "/somewhere", "new", "pending"),
    ],
)
def test_who_may_have_an_id(
    world: World, held_by: str | None, comes_from: str | None, content: str, outcome: str
) -> None:
    world.add(at(held_by, "x"))
    assert outcomes(world, at(comes_from, "x", content)) == [outcome]
    assert world.catalog.image("pictures", "x").sha256 == sha_of("x")


def test_the_version_that_waits_holds_the_id(world: World) -> None:
    world.add(at("/a", "x"))
    _, [task] = world.job(at("/a", "x", "pending"))
    assert outcomes(world, at("/b", "x", "x")) == ["id_taken"], "it would end what waits"
    assert world.publish(world.lease(task))
    assert world.catalog.image("pictures", "x").sha256 == sha_of("pending")


def test_the_holder_is_named_and_its_neighbours_are_registered(world: World) -> None:
    world.add(at("/a", "x"), at(None, "y"))
    job = world.catalog.create_job(world.collection.id, "index", {})
    items = [at("/b", "x", "1"), at("/b", "y", "2"), at("/b", "z")]
    registered = world.catalog.register(job.id, items, batch_size=10)
    assert registered.holders == {"x": "/a", "y": None}
    assert len(registered.task_ids) == 1
    assert world.catalog.job_progress(job.id).pending == 1


def test_what_two_sources_share_stays_where_one_run_met_it_first(world: World) -> None:
    world.add(at("/a", "x"))
    key = world.live()["x"]
    for source, refreshed in (("/b", 1), ("/b", 0), ("/a", 1)):
        job = world.add(at(source, "x"))
        image = world.catalog.image("pictures", "x")
        assert (image.key, image.source, image.uri) == (key, source, f"{source}/x")
        assert (job.unchanged, job.refreshed) == (1, refreshed)
    job = world.catalog.create_job(world.collection.id, "index", {})
    for source in ("/a", "/b", "/a"):
        world.catalog.register(job.id, [at(source, "x")], batch_size=10)
    assert world.catalog.image("pictures", "x").source == "/a"
    progress = world.catalog.job_progress(job.id)
    assert (progress.unchanged, progress.refreshed) == (2, 0)
    assert world.catalog.prunable(job.id, "/a").gone == world.catalog.prunable(job.id, "/b").gone == 0


def test_a_copy_is_given_up_for_no_reference(world: World) -> None:
    world.add(at("/a", "x"))
    copied = replace(at("/a", "x"), uri=f"blob:{sha_of('x')}")
    world.add(copied)
    world.add(at("/b", "x"))
    image = world.catalog.image("pictures", "x")
    assert (image.uri, image.source) == (copied.uri, "/b")


def test_a_source_that_moved_brings_its_images_along(world: World) -> None:
    world.add(at("/a", "x"), at("/a", "y"), at("/b", "z"), at(None, "u"))
    assert world.catalog.sources("pictures") == ["/a", "/b"]
    assert world.catalog.move_source("pictures", "/a", "/b") == 2
    assert world.catalog.move_source("pictures", "unknown:", "/c") == 1
    images = world.catalog.images("pictures").items
    assert {image.image_id: image.source for image in images} == {"x": "/b", "y": "/b", "z": "/b", "u": "/c"}
    with pytest.raises(InputError, match="came from /nowhere"):
        world.catalog.move_source("pictures", "/nowhere", "/b")
    with pytest.raises(NotFoundError):
        world.catalog.move_source("other", "/a", "/b")


def test_pruning_goes_by_what_was_met_in_that_source(world: World) -> None:
    world.add(*(at("/a", name) for name in "pqr"), at("/b", "s"), at(None, "u"))
    job = world.catalog.create_job(world.collection.id, "index", {})
    world.catalog.register(job.id, [at("/a", "p"), at("/b", "q", "other")], batch_size=10)
    world.catalog.record_failures(job.id, [Failure("r", "/b/r", "unreadable", "No.", "/b")])
    assert world.catalog.prunable(job.id, "/a") == Pruning("/a", 3, 2, ("q", "r"))
    assert world.catalog.prunable(job.id, "/b") == Pruning("/b", 1, 1, ("s",))
    assert world.catalog.prunable(job.id, "/never") == Pruning("/never", 0, 0, ())
    with pytest.raises(ConflictError, match="more than the 1"):
        world.catalog.prune(job.id, "/a", most=1)
    assert world.catalog.prune(job.id, "/a", most=2) == 2
    assert world.live().keys() == {"p", "s", "u"}
    assert world.catalog.job_progress(job.id).deleted == 2


@pytest.mark.parametrize("name", ["x" * 100_000, "ü" * MAX_ID_BYTES, "", "a\nb", "..", "\0", "\ud800"])
def test_every_failure_has_a_line(world: World, name: str) -> None:
    job = world.catalog.create_job(world.collection.id, "index", {})
    world.catalog.record_failures(job.id, [Failure(name, "/x", "unsupported", "No.", "/s" * MAX_ID_BYTES)])
    world.catalog.record_failures(job.id, [Failure(name + "2", "/x", "id_taken", "No.")])
    lines = world.catalog.job_errors(job.id)
    assert len({line.id for line in lines}) == 2
    assert all(0 < len(line.id.encode()) <= MAX_ID_BYTES for line in lines)
    assert world.catalog.job_reasons(job.id) == {"unsupported": 1, "id_taken": 1}
    assert [line.id for line in world.catalog.job_errors(job.id, reason="id_taken")] == [lines[1].id]


def test_duplicates_are_noted_and_not_added_up(world: World) -> None:
    job, _ = world.job(seal=False)
    for found in (2, 5, 3):
        world.catalog.note_duplicates(job.id, found)
    assert world.catalog.job_progress(job.id).duplicates == 3
    world.catalog.seal_job(job.id)
    with pytest.raises(ConflictError):
        world.catalog.note_duplicates(job.id, 4)
