"""Where images come from, what their bytes are released for, and what a collection may be called."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sightline.errors import InputError
from sightline.store.catalog import Catalog
from sightline.store.filters import parse_filter
from tests.store.catalog_world import World, create_pictures, emptied, item, opened, sha_of


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        world.catalog.forget_blobs(world.catalog.releasable_blobs(1e12, 1000), 1e12)
        yield world


def released(world: World) -> set[str]:
    return set(world.catalog.releasable_blobs(1e12, 1000))


# sources


def test_an_image_knows_the_source_that_it_came_from(world: World) -> None:
    world.add(
        replace(item("a"), source="/photos"), replace(item("b"), source="upload:"),
        replace(item("c"), source=None),
        replace(item("d"), source="/photos"),
    )  # fmt: skip
    images = world.catalog.images("pictures").items
    assert {image.image_id: image.source for image in images} == {
        "a": "/photos",
        "b": "upload:",
        "c": None,
        "d": "/photos",
    }
    assert world.catalog.image("pictures", "b").source == "upload:"
    described = world.catalog.describe(world.collection.id, [image.key for image in images])
    assert [described[image.key].source for image in images] == [image.source for image in images]


def test_a_source_that_is_not_given_stays_and_one_that_is_given_counts(world: World) -> None:
    world.add(replace(item("same"), source="/old"), replace(item("other"), source="/old"))
    world.add(*(replace(one, source=None) for one in (item("same"), item("other", "new bytes"))))
    assert [image.source for image in world.catalog.images("pictures").items] == ["/old", "/old"]
    key = world.live()["same"]
    world.add(replace(item("same"), source="/new"), replace(item("other", "newer bytes"), source="/new"))
    assert {image.source for image in world.catalog.images("pictures").items} == {"/new"}
    assert world.live()["same"] == key


def test_a_pending_image_has_its_source_in_the_lease(world: World) -> None:
    _, [task] = world.job(replace(item("a"), source="/photos"))
    lease = world.lease(task)
    assert [image.source for image in lease.images] == ["/photos"]
    assert world.publish(lease)


@pytest.mark.parametrize("address", ["\0", "\ud800", "x" * 3000])
def test_an_address_that_cannot_be_stored_is_refused(world: World, address: str) -> None:
    job = world.catalog.create_job(world.collection.id, "index", {})
    with pytest.raises(InputError, match="address"):
        world.catalog.register(job.id, [replace(item("a"), source=address)], batch_size=1)


# released bytes


def test_bytes_are_released_when_their_last_row_ends(world: World) -> None:
    world.add(item("a"), item("b", "shared"), item("c", "shared"))
    world.lose("a", "b")
    assert released(world) == {sha_of("a")}
    last = parse_filter({"must": [{"field": "id", "in": ["c"]}]})
    world.catalog.delete_images(world.collection.id, filter=last)
    assert released(world) == {sha_of("a")}, "what is in the trash holds its bytes"
    world.catalog.empty_trash(world.collection.id)
    assert released(world) == {sha_of("a"), sha_of("shared")}


def test_bytes_are_released_by_replacing_pruning_cancelling_and_superseding(world: World) -> None:
    world.add(item("a", "old"), item("pruned"))
    world.add(item("a", "new"))
    assert released(world) == {sha_of("old")}
    job, _ = world.job(item("a", "new"), seal=False)
    assert world.prune(job) == 1
    world.catalog.empty_trash(world.collection.id)
    assert released(world) == {sha_of("old"), sha_of("pruned")}
    cancelled, _ = world.job(item("x", "cancelled"), item("y", "superseded"), seal=False)
    world.catalog.register(cancelled.id, [item("y", "pending")], batch_size=5)
    assert sha_of("superseded") in released(world)
    assert not {sha_of("cancelled"), sha_of("pending")} & released(world)
    world.catalog.cancel_job(cancelled.id)
    assert {sha_of("cancelled"), sha_of("pending")} <= released(world)


def test_failed_images_hold_their_bytes(world: World) -> None:
    _, [task] = world.job(item("a"))
    world.publish(world.lease(task), failed=["a"])
    assert released(world) == set()
    assert world.catalog.is_referenced(sha_of("a"))
    world.catalog.delete_images(world.collection.id, ids=["a"])
    assert released(world) == {sha_of("a")}
    assert not world.catalog.is_referenced(sha_of("a"))


def test_a_deleted_collection_releases_what_no_other_has(world: World) -> None:
    other = world.catalog.create_collection(
        "other", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    world.add(item("a"), item("b"))
    job = world.catalog.create_job(other.id, "index", {})
    world.catalog.register(job.id, [item("z", "b")], batch_size=5)
    world.catalog.delete_collection("pictures")
    assert released(world) == set(), "what is in the trash holds its bytes"
    world.catalog.empty_collection("pictures")
    assert released(world) == {sha_of("a")}
    world.catalog.delete_collection(other.name)
    world.catalog.empty_collection(other.name)
    assert released(world) == {sha_of("a"), sha_of("b")}
    create_pictures(world.catalog)


def test_bytes_that_come_back_drop_out_and_are_released_anew_with_a_new_time(world: World) -> None:
    world.add(item("a"))
    world.time = 2_000.0
    world.lose("a")
    assert world.catalog.releasable_blobs(2_000.0, 9) == []
    assert world.catalog.releasable_blobs(2_000.1, 9) == [sha_of("a")]
    world.add(item("again", "a"))
    assert world.catalog.releasable_blobs(2_000.1, 9) == []
    world.time = 3_000.0
    world.lose("again")
    assert world.catalog.releasable_blobs(3_000.0, 9) == []
    assert world.catalog.releasable_blobs(3_000.1, 9) == [sha_of("a")]


def test_only_what_was_removed_is_forgotten(world: World) -> None:
    world.add(item("a"), item("b"), item("c"))
    world.time = 2_000.0
    world.lose("a", "b")
    world.time = 3_000.0
    world.lose("c")
    assert len(world.catalog.releasable_blobs(4_000.0, 2)) == 2
    world.catalog.forget_blobs([sha_of("a"), sha_of("c"), "never held"], 2_500.0)
    assert released(world) == {sha_of("b"), sha_of("c")}


# names


@pytest.mark.parametrize("name", ["", "my/pics", "two words", ".hidden", "-x", "é", "x" * 64, "a\0", "a\n"])
def test_a_name_that_no_address_can_hold_is_refused(world: World, name: str) -> None:
    with pytest.raises(InputError, match=r"^The collection's name|^A collection cannot be called"):
        world.catalog.create_collection(
            name, model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
        )


@pytest.mark.parametrize("name", ["a", "Holidays.2020_spain-1", "x" * 63])
def test_a_name_of_letters_digits_and_three_signs_is_taken(world: World, name: str) -> None:
    made = world.catalog.create_collection(
        name, model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    assert world.catalog.collection(name) == made


# the methods


def test_methods_show_the_parameters_and_the_docstring_of_their_function() -> None:
    methods = {name: method for name, method in vars(Catalog).items() if inspect.isfunction(method)}
    public = {name: method for name, method in methods.items() if not name.startswith("_")}
    assert len(public) > 40
    for name, method in public.items():
        assert method.__doc__, name
        assert (method.__name__, method.__qualname__) == (name, f"Catalog.{name}")
        assert not {"connection", "now"} & set(inspect.signature(method).parameters), name
    assert list(inspect.signature(Catalog.images).parameters) == [
        "self",
        "collection",
        "cursor",
        "limit",
        "filter",
        "state",
        "most_bytes",
    ]
    assert inspect.signature(Catalog.register).parameters["batch_size"].kind is inspect.Parameter.KEYWORD_ONLY
    assert inspect.signature(Catalog.publish).parameters["failures"].default == ()
