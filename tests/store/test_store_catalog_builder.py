"""Generations and merged segments: whatever the builder does, a search finds exactly the live keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from sightline.errors import ConflictError
from sightline.store.records import Generation
from sightline.store.sql.health import problems
from tests.store.catalog_world import Builder, World, emptied, item, opened, sizes_of


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def builder(shared: World) -> Iterator[Builder]:
    with emptied(shared) as world:
        yield Builder(world)


def delete(builder: Builder, *names: str) -> None:
    builder.world.lose(*names)


def test_a_generation_covers_its_segments_and_later_ones_stay_uncovered(builder: Builder) -> None:
    first = builder.add("a", "b")
    assert builder.fold()
    second = builder.add("c")
    snapshot = builder.world.catalog.snapshot("pictures")
    assert [segment.id for segment in snapshot.covered] == [first]
    assert [segment.id for segment in snapshot.uncovered] == [second]
    assert snapshot.generation is not None
    assert (snapshot.generation.number, snapshot.generation.covered) == (1, (first,))
    assert builder.world.catalog.generation_files() == {snapshot.generation.file}
    builder.expect_exactly_the_live()


def test_of_two_builders_that_publish_the_same_number_one_wins(builder: Builder) -> None:
    first = builder.add("a")
    assert builder.fold()
    collection = builder.world.collection
    late = Generation(collection.feature_set_id, 1, "late", "0", (first,), 1, 0.0)
    assert not builder.world.catalog.publish_generation(collection.id, 0, late)
    builder.expect_exactly_the_live()


def test_a_generation_of_a_segment_that_was_merged_meanwhile_is_refused(builder: Builder) -> None:
    one, two = builder.add("a", "gone"), builder.add("b")
    delete(builder, "gone")
    assert builder.merge([one, two])
    assert not builder.fold(covered=[one, two])
    builder.expect_exactly_the_live()


@pytest.mark.parametrize("folded", [False, True])
def test_merging_moves_the_live_and_drops_the_dead(builder: Builder, folded: bool) -> None:
    one, two = builder.add("a", "gone", "c"), builder.add("d")
    if folded:
        assert builder.fold()
    delete(builder, "gone")
    before = builder.world.version()
    assert builder.merge([one, two])
    assert builder.world.version() > before
    builder.expect_exactly_the_live()
    snapshot = builder.world.catalog.snapshot("pictures")
    [merged] = snapshot.covered if folded else snapshot.uncovered
    assert merged.count == 3
    # The current generation, not the files, may still hold the dead key; the next one does not.
    assert len(builder.world.dead()) == (1 if folded else 0)
    assert builder.fold()
    assert builder.world.dead() == set()
    builder.expect_exactly_the_live()


@pytest.mark.parametrize("folded", [False, True])
def test_segments_that_are_all_dead_are_replaced_by_none(builder: Builder, folded: bool) -> None:
    one, _ = builder.add("gone", "also gone"), builder.add("stays")
    if folded:
        assert builder.fold()
    delete(builder, "gone", "also gone")
    assert builder.merge([one])
    builder.expect_exactly_the_live()
    builder.world.time += 10
    retired = builder.world.catalog.retired_segments(builder.world.time)
    builder.world.catalog.forget_segments([segment.id for segment in retired])
    builder.expect_exactly_the_live()
    assert builder.fold()
    builder.world.catalog.forget_segments([segment.id for segment in retired])
    assert builder.world.catalog.retired_segments(builder.world.time) == []
    builder.expect_exactly_the_live()


def test_a_key_that_died_while_it_was_merged_is_dead_in_the_new_segment(builder: Builder) -> None:
    one, two = builder.add("a", "b"), builder.add("c")
    keys = builder.world.live()
    delete(builder, "a")
    assert builder.merge([one, two], keep=list(keys.values()))
    assert builder.world.dead() == {keys["a"]}
    builder.expect_exactly_the_live()


def test_a_merge_that_would_lose_a_live_key_is_refused(builder: Builder) -> None:
    one, two = builder.add("a", "b"), builder.add("c")
    keys = builder.world.live()
    assert not builder.merge([one, two], keep=[keys["a"], keys["c"]])
    assert not builder.merge([one], keep=[keys["a"], keys["b"], keys["c"]])
    assert builder.merge([one, two])
    assert not builder.merge([one, two], keep=list(keys.values()))  # they are retired
    builder.expect_exactly_the_live()


def test_covered_and_uncovered_segments_are_not_merged_together(builder: Builder) -> None:
    one = builder.add("a")
    assert builder.fold()
    two = builder.add("b")
    with pytest.raises(ConflictError, match="covers"):
        builder.merge([one, two])
    builder.expect_exactly_the_live()


def test_a_retired_segment_is_named_until_it_is_forgotten(builder: Builder) -> None:
    one, two = builder.add("a"), builder.add("b")
    files = builder.world.catalog.segment_files()
    builder.world.time = 2_000.0
    assert builder.merge([one, two])
    assert files < builder.world.catalog.segment_files()
    assert builder.world.catalog.retired_segments(2_000.0) == []
    assert [segment.id for segment in builder.world.catalog.retired_segments(2_000.1)] == [one, two]
    builder.world.catalog.forget_segments([one, two])
    assert not files & builder.world.catalog.segment_files()


def test_a_published_segment_cannot_be_forgotten(builder: Builder) -> None:
    one = builder.add("a")
    builder.world.catalog.forget_segments([one])
    builder.expect_exactly_the_live()


def test_rows_of_superseded_images_are_dead_from_the_start(builder: Builder) -> None:
    _, [task] = builder.world.job(item("a"), item("b"))
    lease = builder.world.lease(task)
    builder.add("a")
    segment = builder.write([image.key for image in lease.images])
    assert builder.world.catalog.publish(lease, segment, sizes=sizes_of(lease))
    assert builder.world.dead() == {lease.images[0].key}
    builder.expect_exactly_the_live()
    assert builder.fold()
    builder.expect_exactly_the_live()


SAID = (
    "INSERT INTO texts (key, collection_id, source, text, digest, words, verdict, created_at)"
    " SELECT key, collection_id,"
)
BY_HAND = {
    "UPDATE placements SET row = 0": "Two images in one row of a segment",
    "UPDATE placements SET row = 7 WHERE row = 1": "Images in a row that their segment does not have",
    "UPDATE placements SET segment_id = NULL": "Live images without a segment",
    "DELETE FROM placements WHERE row = 0": "Segments whose count differs",
    "UPDATE placements SET dead = true": "Keys dead by one table only",
    "UPDATE placements SET row = NULL": "Keys that are neither in a row nor only in a generation",
    "UPDATE images SET state = 'pending'": "Pending images without an open task",
    "UPDATE images SET state = 'failed'": "Pending or failed images with a segment",
    "UPDATE segments SET state = 'retired'": "Images in a segment that is not published here",
    "UPDATE feature_sets SET serving = false": "Collections without a feature set that serves",
    "UPDATE generations SET serving = false": "have generations of which none serves",
    "UPDATE generations SET covered = '[12345]'": "covers unpublished segments [12345]",
    "UPDATE tasks SET state = 'leased'": "Leased tasks without an owner or an end",
    "UPDATE tasks SET state = 'ready'": "Open tasks of a job that has ended",
    "UPDATE jobs SET state = 'running'": "Running jobs without an open task",
    "UPDATE images SET caption = 'x'": "Captions without a given text",
    f"{SAID} 'given', 'x', 'd', '', 'unjudged', 0 FROM images": "Given texts that are not their image's",
}


@pytest.mark.parametrize("statement", BY_HAND)
def test_the_doctor_sees_what_somebody_changed_by_hand(builder: Builder, statement: str) -> None:
    builder.add("a", "b")
    assert builder.fold()
    database = builder.world.catalog.database

    def changed(connection: Connection) -> list[str]:
        before = connection.begin_nested()
        connection.execute(text(statement))
        found = problems(connection)
        before.rollback()
        return found

    assert any(BY_HAND[statement] in problem for problem in database.write(changed))
    assert builder.world.catalog.check() == []


def test_generations_of_two_kinds_stand_beside_each_other_and_one_serves(builder: Builder) -> None:
    first = builder.add("a", "gone")
    assert builder.fold()
    other = builder.generation("ivf", 1, [first], {"lists": 4})
    assert builder.world.catalog.publish_generation(builder.world.collection.id, 0, other)
    files = builder.world.catalog.generation_files()
    served = builder.world.catalog.snapshot("pictures").generation
    assert served is not None
    assert (served.kind, served.parameters, files) == ("flat", {}, {served.file, other.file})
    second = builder.add("b")
    assert builder.fold()
    assert builder.world.catalog.snapshot("pictures").generation != served
    assert other.file in builder.world.catalog.generation_files()
    assert served.file not in builder.world.catalog.generation_files()
    late = builder.generation("ivf", 1, [first, second])
    assert not builder.world.catalog.publish_generation(builder.world.collection.id, 0, late)
    builder.expect_exactly_the_live()


def test_a_dead_key_is_known_as_long_as_any_generation_may_hold_it(builder: Builder) -> None:
    first = builder.add("a", "gone")
    catalog, collection = builder.world.catalog, builder.world.collection.id
    assert builder.fold()
    assert catalog.publish_generation(collection, 0, builder.generation("ivf", 1, [first]))
    gone = builder.world.live()["gone"]
    delete(builder, "gone")
    assert builder.merge([first])
    assert builder.world.dead() == {gone}
    assert builder.fold()
    assert builder.world.dead() == {gone}  # the other generation was built before the merge
    [merged] = catalog.snapshot("pictures").covered
    assert catalog.publish_generation(collection, 1, builder.generation("ivf", 2, [merged.id]))
    assert builder.world.dead() == set()
    builder.expect_exactly_the_live()


def test_a_generation_of_another_collection_is_refused(builder: Builder) -> None:
    segment = builder.add("a")
    other = builder.world.catalog.create_collection(
        "other", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    made = builder.generation("flat", 1, [segment])
    with pytest.raises(ValueError, match="another collection"):
        builder.world.catalog.publish_generation(other.id, 0, made)
