"""Collections, images and what a query reads, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightline.errors import ConflictError, InputError, ModelMismatchError, NotFoundError
from sightline.store.filters import parse_filter
from sightline.store.work_records import Registration
from tests.store.catalog_world import World, create_pictures, emptied, item, opened, sha_of


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


# collections


def test_creating_a_collection_again_gives_the_same_one(world: World) -> None:
    assert create_pictures(world.catalog) == world.collection


def test_a_collection_is_bound_to_its_fingerprint(world: World) -> None:
    with pytest.raises(ModelMismatchError, match="was made with model 'toy'"):
        world.catalog.create_collection(
            "pictures", model="other", revision="main", fingerprint="f2", num_query_tokens=4, joint_dim=8
        )


def test_an_unknown_collection_is_not_found(world: World) -> None:
    for ask in (world.catalog.collection, world.catalog.snapshot, world.catalog.version):
        with pytest.raises(NotFoundError, match="no collection 'nothing'"):
            ask("nothing")


def test_counts_are_by_state_and_of_published_segments(world: World) -> None:
    world.add(item("a"), item("b"), item("c"))
    world.catalog.delete_images(world.collection.id, ids=["c"])
    _, [task] = world.job(item("broken"), item("d"))
    world.publish(world.lease(task), failed=["broken"])
    world.job(item("e"))
    assert world.catalog.collection_counts("pictures") == {
        "live": 3,
        "pending": 1,
        "failed": 1,
        "trashed": 1,
        "buried": 0,
        "segments": 2,
        "bytes": 400,
    }


def test_a_removed_collection_leaves_nothing_and_its_name_is_free(world: World) -> None:
    world.add(item("a"), item("b"))
    job, [task] = world.job(item("c"), item("d"), seal=False)
    lease = world.lease(task)
    old = world.collection
    world.catalog.delete_collection(old.name)
    world.catalog.empty_collection(old.name)
    assert world.catalog.segment_files() == set()
    assert not world.publish(lease)
    assert not world.catalog.renew(lease, 60)
    with pytest.raises(NotFoundError):
        world.catalog.job(job.id)
    assert create_pictures(world.catalog).id != old.id
    assert world.live() == {}


# images


def test_an_added_image_is_live_with_size_and_place(world: World) -> None:
    world.add(item("a", caption="a red car", year=2020))
    image = world.catalog.image("pictures", "a")
    assert (image.state, image.sha256, image.caption, image.metadata) == (
        "live",
        sha_of("a"),
        "a red car",
        {"year": 2020},
    )
    assert (image.width, image.height, image.published_at) == (40, 30, 1000.0)
    [segment] = world.catalog.snapshot("pictures").uncovered
    location = world.catalog.locations([image.key])[image.key]
    assert (location.segment_id, location.file, location.row, location.codec) == (
        segment.id,
        segment.file,
        0,
        "fp16",
    )


def test_pages_meet_every_image_once_while_images_come_and_go(world: World) -> None:
    world.add(*(item(f"{number:02}") for number in range(9)))
    first = world.catalog.images("pictures", limit=4)
    world.catalog.delete_images(world.collection.id, ids=["02"])
    world.add(item("new"))
    second = world.catalog.images("pictures", first.next_cursor, limit=4)
    third = world.catalog.images("pictures", second.next_cursor, limit=4)
    names = [image.image_id for page in (first, second, third) for image in page.items]
    assert names == [f"{number:02}" for number in range(9)] + ["new"]
    assert third.next_cursor is None


def test_a_last_page_that_is_just_full_says_so(world: World) -> None:
    world.add(item("a"), item("b"))
    assert world.catalog.images("pictures", limit=2).next_cursor is None


@pytest.mark.parametrize("cursor", ["x", "-1", "", "9" * 30, "1.5"])
def test_a_foreign_cursor_is_an_input_error(world: World, cursor: str) -> None:
    with pytest.raises(InputError, match="cursor"):
        world.catalog.images("pictures", cursor)


def test_changing_metadata_changes_the_version_and_the_answer(world: World) -> None:
    world.add(item("a", year=2020))
    before = world.version()
    changed = world.catalog.update_image("pictures", "a", metadata={"year": 2021})
    assert changed.metadata == {"year": 2021}
    assert world.version() == before + 1
    assert world.catalog.update_image("pictures", "a", caption="new").metadata == {"year": 2021}
    assert world.catalog.update_image("pictures", "a", caption=None).caption is None


def test_a_change_outlives_a_replacement_under_way(world: World) -> None:
    world.add(item("a", caption="old"))
    _, [task] = world.job(item("a", "new bytes"))
    world.catalog.update_image("pictures", "a", caption="edited")
    world.publish(world.lease(task))
    image = world.catalog.image("pictures", "a")
    assert (image.caption, image.sha256) == ("edited", sha_of("new bytes"))


def test_a_deleted_image_is_found_no_more_and_its_key_is_dead(world: World) -> None:
    world.add(item("a"), item("b"))
    keys, before = world.live(), world.version()
    assert world.catalog.delete_images(world.collection.id, ids=["a", "unknown"]) == 1
    assert world.dead() == {keys["a"]}
    assert world.live().keys() == {"b"}
    assert world.version() > before
    assert world.catalog.describe(world.collection.id, list(keys.values())).keys() == {keys["b"]}
    with pytest.raises(NotFoundError, match="no image 'a'"):
        world.catalog.image("pictures", "a")


def test_a_search_that_began_before_can_still_read_what_it_found(world: World) -> None:
    world.add(item("a"))
    key = world.live()["a"]
    world.catalog.delete_images(world.collection.id, ids=["a"])
    assert world.catalog.locations([key])[key].row == 0


def test_deleting_an_id_discards_its_pending_version(world: World) -> None:
    world.add(item("a"))
    _, [task] = world.job(item("a", "new"), item("only pending"))
    lease = world.lease(task)
    assert world.catalog.delete_images(world.collection.id, ids=["a", "only pending"]) == 2
    assert world.publish(lease)
    assert world.live() == {}
    assert {image.key for image in lease.images} <= world.dead()


def test_deleting_by_filter_speaks_of_live_images_and_discards_their_new_versions(world: World) -> None:
    world.add(item("a", year=1), item("b", year=2))
    _, [task] = world.job(item("a", "new"), item("c", year=1))
    deleted = world.catalog.delete_images(
        world.collection.id, filter=parse_filter({"field": "year", "equals": 1})
    )
    assert deleted == 1
    world.publish(world.lease(task))
    assert world.live().keys() == {"b", "c"}


def test_ids_and_a_filter_together_mean_both(world: World) -> None:
    world.add(item("a", year=1), item("b", year=1), item("c", year=2))
    wanted = parse_filter({"field": "year", "equals": 1})
    assert world.catalog.delete_images(world.collection.id, ids=["a", "c"], filter=wanted) == 1
    assert world.live().keys() == {"b", "c"}


def test_deleting_without_saying_what_is_refused(world: World) -> None:
    with pytest.raises(InputError, match="ids, a filter"):
        world.catalog.delete_images(world.collection.id)


def test_a_delete_job_counts_what_it_deleted(world: World) -> None:
    world.add(item("a"), item("b"))
    job = world.catalog.create_job(world.collection.id, "delete", {"ids": ["a"]})
    world.catalog.delete_images(world.collection.id, ids=["a"], job_id=job.id)
    world.catalog.seal_job(job.id)
    progress = world.catalog.job_progress(job.id)
    assert (progress.deleted, progress.total, progress.state) == (1, 1, "done")


def test_known_bytes_are_found_under_any_id_and_in_the_trash(world: World) -> None:
    world.add(item("a", "same"), item("b", "other"))
    found = world.catalog.find_live_by_sha(world.collection.id, [sha_of("same"), sha_of("nowhere")])
    assert {sha: place.key for sha, place in found.items()} == {sha_of("same"): world.live()["a"]}
    world.catalog.delete_images(world.collection.id, ids=["a"])
    assert world.catalog.find_live_by_sha(world.collection.id, [sha_of("same")]).keys() == {sha_of("same")}
    world.catalog.empty_trash(world.collection.id)
    assert world.catalog.find_live_by_sha(world.collection.id, [sha_of("same")]) == {}


# what SQL cannot store


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (item("nul\x00"), "NUL"),
        (item("broken \udcff name", "x"), "not valid Unicode"),
        (Registration("", "s", "/u", 1), "cannot be empty"),
        (item("é" * 1025, "x"), "longer than 2048 bytes"),
        (item("a", caption="a\x00"), "caption of 'a'"),
        (item("a", x=float("nan")), "nan, which JSON"),
        (item("a", x=2**63), "beyond 64 bits"),
        (item("a", x={1, 2}), "a set, which is no JSON value"),
        (item("a", x=[{"deep": "\udcff"}]), "not valid Unicode"),
    ],
    ids=["nul", "surrogate", "empty", "long", "caption", "nan", "large", "set", "deep"],
)
def test_what_no_database_stores_is_an_input_error(world: World, bad: Registration, message: str) -> None:
    job, _ = world.job(seal=False)
    with pytest.raises(InputError, match=message):
        world.catalog.register(job.id, [item("good"), bad], batch_size=5)
    assert world.catalog.job_progress(job.id).total == 0


def test_text_and_numbers_come_back_as_they_went_in(world: World) -> None:
    metadata: dict[str, Any] = {
        "text": 'quotes " \\ and \t tabs, 日本語, 🙂, é',
        "numbers": [0, -1, 2**63 - 1, -(2**63), 0.1, 1e-300, 1.5, 2**53 + 1],
        "nested": {"null": None, "flags": [True, False], "empty": [{}, []]},
        "a key with spaces & ünïcode": 1,
    }
    name = "Ordner/Straße 🙂 'x'.jpg"
    world.add(item(name, caption="Füße", **metadata))
    image = world.catalog.image("pictures", name)
    assert (image.metadata, image.caption, image.image_id) == (metadata, "Füße", name)


# what a query needs


def test_filter_keys_are_the_sorted_live_keys(world: World) -> None:
    world.add(*(item(f"{n}", year=n) for n in range(6)))
    world.catalog.delete_images(world.collection.id, ids=["4"])
    keys = world.catalog.filter_keys(
        world.collection.id, parse_filter({"field": "year", "range": {"gte": 3}})
    )
    assert keys.dtype.name == "int64"
    assert keys.tolist() == sorted(world.live()[name] for name in ("3", "5"))


def test_the_version_changes_exactly_with_what_a_search_sees(world: World) -> None:
    start = world.version()
    job, [task] = world.job(item("a"), item("b"), seal=False)
    lease = world.lease(task)
    world.catalog.renew(lease, 60)
    world.catalog.seal_job(job.id)
    assert world.version() == start
    world.publish(lease)
    assert world.version() == start + 1
    world.job(item("a"))
    assert world.version() == start + 1
    world.job(item("a", caption="now captioned"))
    assert world.version() == start + 2


def test_a_job_belongs_to_its_collection(world: World) -> None:
    other = world.catalog.create_collection(
        "other", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    world.add(item("a"))
    there = world.catalog.create_job(other.id, "index", {"sources": ["/x"]})
    assert [job.id for job in world.catalog.jobs("other")] == [there.id]
    assert [job.collection for job in world.catalog.jobs()] == ["pictures", "other"] or len(
        world.catalog.jobs()
    ) == 2
    assert world.catalog.collection_counts("other")["live"] == 0
    assert there.request == {"sources": ["/x"]}
    with pytest.raises(NotFoundError):
        world.catalog.create_job(99, "index", {})


def test_an_ended_job_takes_no_more_images(world: World) -> None:
    job, _ = world.job(item("a"))
    with pytest.raises(ConflictError, match="takes no more images"):
        world.catalog.register(job.id, [item("b")], batch_size=1)


def test_keys_may_be_numpy_integers(world: World) -> None:
    _, [task] = world.job(item("a"), item("b"))
    lease = world.lease(task)
    keys = np.array([image.key for image in lease.images], dtype=np.int64)
    sizes: Any = {key: (np.int64(4), np.int64(3)) for key in keys}
    assert world.catalog.publish(lease, replace(world.segment([]), keys=keys), sizes=sizes)
    assert world.catalog.describe(world.collection.id, list(keys)).keys() == set(keys.tolist())
    places = world.catalog.locations(list(keys))
    assert [places[image.key].row for image in lease.images] == [0, 1]
    assert world.catalog.image("pictures", "b").width == 4
