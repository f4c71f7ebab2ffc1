"""Schemas taken back and forth with rows in them: nothing changes but what the earlier one cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, text

from sightline.errors import ConflictError, InputError
from sightline.store import full_text
from sightline.store.catalog import open_catalog
from sightline.store.database import Database, make_engine
from sightline.store.migrate import HEAD, migrate_to, revision
from sightline.store.saved_records import NewSavedSearch, Verdicts
from sightline.store.work_records import Registration
from tests.store.catalog_world import Builder, World, create_pictures, item, sha_of
from tests.store.catalog_world import Clock as StoppedClock
from tests.store.test_store_migrations import schema_of
from tests.upgrade.old_schema import downgrade_to_base, make_old
from tests.upgrade.test_upgrade_catalog import fill

GONE = {
    ("images", "source_id"), ("sources", "*"), ("released_blobs", "*"), ("installation", "*"),
    ("tasks", "lease_seconds"), ("singletons", "seconds"), ("keys", "*"), ("texts", "id"),
    ("images", "changed"), ("metadata_fields", "id"), ("field_values", "field_id"),
    ("tasks", "turn"), ("jobs", "turn"),
}  # fmt: skip
"""What an earlier schema has no place for; ids of rows that are made anew are not compared either."""


@pytest.fixture(scope="module")
def filled_url(module_catalog_url: str) -> str:
    """Live, replaced, deleted, failed and pending pictures, some folded, some merged away.

    It is made once: every test leaves the newest schema with these rows, and tests of the way back say so.
    """
    world = open_world(module_catalog_url)
    create_pictures(world.catalog)
    fill_with_life(world)
    world.catalog.close()
    return module_catalog_url


@pytest.fixture
def database(filled_url: str) -> Iterator[Database]:
    database = Database(make_engine(filled_url))
    yield database
    database.close()


@pytest.fixture
def world(filled_url: str) -> Iterator[World]:
    world = open_world(filled_url)
    yield world
    world.catalog.close()


def open_world(url: str) -> World:
    clock = StoppedClock()
    return World(open_catalog(url, now=clock), clock)


def fill_with_life(world: World) -> None:
    catalog, builder = world.catalog, Builder(world)
    first, second = builder.add("a", "b", "c"), builder.add("d", "e")
    assert builder.fold()
    third = builder.add("f", "g")
    catalog.delete_images(world.collection.id, ids=["b", "d", "f"])
    catalog.empty_trash(world.collection.id)
    assert builder.merge([first, second])
    world.add(replace(item("a", "new bytes", "A caption.", place="here"), source="/photos"))
    _, [task] = world.job(item("h"), item("i"))
    assert world.publish(world.lease(task), failed=["i"])
    world.job(item("waits"), item("g", "other bytes"))
    assert third
    assert catalog.check() == []


def rows_of(database: Database) -> dict[str, list[dict[str, Any]]]:
    tables = MetaData()
    tables.reflect(database.engine)

    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        return {
            name: sorted(
                (dict(row._mapping) for row in connection.execute(table.select())),
                key=lambda row: str(list(row.values())),
            )
            for name, table in tables.tables.items()
            if (name, "*") not in GONE and name != "alembic_version" and not name.startswith(full_text.NAME)
        }

    return database.read(read)


def compared(database: Database) -> dict[str, list[Any]]:
    """Rows as sets of named values, without what goes on the way."""
    return {
        name: [
            sorted((key, str(value)) for key, value in row.items() if (name, key) not in GONE) for row in rows
        ]
        for name, rows in rows_of(database).items()
    }


@pytest.mark.parametrize("target", ["0004", "0003", "0002", "0001"])
def test_down_and_up_again_gives_the_same_rows_and_no_number_twice(
    world: World, database: Database, target: str, filled_url: str
) -> None:
    before, schema = compared(database), database.read(schema_of)
    snapshot = world.catalog.snapshot("pictures")
    dead, live = snapshot.dead.tolist(), world.live()
    places = world.catalog.locations(list(live.values()))
    assert migrate_to(database, target) == HEAD
    assert database.read(revision) == target
    assert migrate_to(database, HEAD) == target
    assert compared(database) == before
    assert sorted(database.read(schema_of), key=str) == sorted(schema, key=str)
    again = open_catalog(filled_url, now=world.clock)
    assert again.check() == []
    after = again.snapshot("pictures")
    assert after.dead.tolist() == dead
    assert [segment.file for segment in after.covered] == [segment.file for segment in snapshot.covered]
    assert again.locations(list(live.values())) == places
    assert {image.image_id for image in again.images("pictures", state="failed").items} == {"i"}
    highest = max(row["key"] for row in rows_of(database)["images"])
    job = again.create_job(after.collection.id, "index", {})
    new = f"new after {target}"
    again.register(job.id, [Registration(new, sha_of(new), "/new", 1)], batch_size=1)
    assert again.image("pictures", new).key > highest
    again.close()


SINCE = {
    "0010": ("saved_deliveries", "saved_members", "saved_searches"),
    "0009": ("same_pictures", "picture_hashes"),
    "0008": ("calibrations",),
}
"""Schema → the tables whose rows are lost on the way back to it, beside those above."""


def fill_what_is_found_again(world: World) -> None:
    """A calibration, hashes and a pair, a saved search with two members, of whom one is to be told."""
    catalog, collection = world.catalog, world.collection
    live = sorted(world.live().values())
    catalog.add_calibration(collection.id, collection.fingerprint, "platt", {"a": 1.0}, {})
    shas = sorted(sha for sha, _ in catalog.names_of(live[:2]).values())
    catalog.note_hashes([(key, bytes(160)) for key in live], [(shas[0], shas[1])])
    new = NewSavedSearch("reds", {"text": "red"}, 0.5, "https://example.org/hook", "secret")
    catalog.create_saved(collection.id, new, 20)
    [search] = catalog.begin_saved(collection.id, "a model")
    work = catalog.saved_work(collection.id, 2)
    found = dict.fromkeys((key for _, key in work.items), 0.75)
    catalog.keep_saved(collection.id, [Verdicts(search, work.items[-1], found)])


@pytest.mark.parametrize("target", SINCE)
def test_down_past_what_is_found_again_takes_that_alone_and_up_again_it_can_be_found(
    catalog_url: str, target: str
) -> None:
    world = open_world(catalog_url)
    create_pictures(world.catalog)
    fill_with_life(world)
    fill_what_is_found_again(world)
    lost = {name for schema, names in SINCE.items() if schema >= target for name in names}
    database = Database(make_engine(catalog_url))
    before, schema = compared(database), database.read(schema_of)
    assert all(before[name] for names in SINCE.values() for name in names)
    migrate_to(database, target)
    assert lost.isdisjoint(compared(database))
    migrate_to(database, HEAD)
    assert compared(database) == before | {name: [] for name in lost}
    assert sorted(database.read(schema_of), key=str) == sorted(schema, key=str)
    database.close()
    new = NewSavedSearch("reds", {"text": "red"}, 0.5, None, None)
    assert world.catalog.create_saved(world.collection.id, new, 20).pending == len(world.live())
    assert world.catalog.check() == []
    world.catalog.close()


def test_down_from_the_first_with_rows_and_back_keeps_them(catalog_url: str) -> None:
    old = make_old(catalog_url)
    old.write(fill)
    before = compared(old)
    migrate_to(old, HEAD)
    migrate_to(old, "0001")
    assert compared(old) == before
    migrate_to(old, HEAD)
    old.close()
    catalog = open_catalog(catalog_url, now=lambda: 100.0)
    assert catalog.check() == []
    job = catalog.create_job(2, "index", {})
    catalog.register(job.id, [Registration("n", "s-n", "/n", 1)], batch_size=1)
    assert catalog.image("b", "n").key == 100, "the key of a picture that is gone is not given again"
    made = catalog.create_collection(
        "next", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    assert made.id == 4
    catalog.close()


LOSSES = {
    "a second feature set": (
        "INSERT INTO feature_sets (collection_id, model, fingerprint, num_query_tokens,"
        " joint_dim, serving, created_at) VALUES (1, 'other', 'f9', 4, 8, false, 1.0)",
        "DELETE FROM feature_sets WHERE model = 'other'",
    ),
    "an index of another kind": (
        "INSERT INTO generations (feature_set_id, kind, number, parameters, serving, file, sha256, covered,"
        " images, created_at) VALUES (1, 'ivf', 1, '{}', false, 'g', 'x', '[]', 0, 1.0)",
        "DELETE FROM generations WHERE kind = 'ivf'",
    ),
    "tasks that do not embed": (
        "INSERT INTO task_items (task_id, key, state) SELECT 1, min(key), 'done' FROM images",
        "DELETE FROM task_items",
    ),
    "has no trash": (
        "UPDATE images SET state = 'trashed' WHERE key = (SELECT min(key) FROM images WHERE state = 'live')",
        "UPDATE images SET state = 'live' WHERE state = 'trashed'",
    ),
}
"""What an earlier schema has no place for → the statement that brings it, and the one that takes it away."""


@pytest.mark.parametrize("loss", LOSSES)
def test_what_the_earlier_schema_has_no_place_for_is_refused_and_nothing_changes(
    database: Database, loss: str
) -> None:
    without = compared(database)
    bring, take = (text(statement.replace(":", "\\:")) for statement in LOSSES[loss])
    database.write(lambda connection: connection.execute(bring))
    before = compared(database)
    with pytest.raises(ConflictError, match=loss):
        migrate_to(database, "0001")
    assert database.read(revision) == HEAD
    assert compared(database) == before != without
    database.write(lambda connection: connection.execute(take))
    assert compared(database) == without


def test_the_first_schema_goes_only_when_nothing_is_in_it(catalog_url: str) -> None:
    old = make_old(catalog_url)
    old.write(fill)
    with pytest.raises(ConflictError, match="delete all collections"):
        old.write(downgrade_to_base)
    assert old.read(revision) == "0001"
    for table in ("generations", "images", "segments", "tasks", "jobs", "collections"):
        old.write(lambda connection, table=table: connection.execute(text(f"DELETE FROM {table}")))
    old.write(downgrade_to_base)
    assert set(rows_of(old)) == set()
    old.close()
    catalog = open_catalog(catalog_url)
    assert catalog.check() == []
    catalog.close()


def test_a_schema_that_does_not_exist_is_one_sentence(database: Database) -> None:
    for name in ("9", "0000", "0099", "head", ""):
        with pytest.raises(InputError, match=r"There is no schema .*; known are 0001, 0002"):
            migrate_to(database, name)
