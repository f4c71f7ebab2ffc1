"""Catalogs of the first schema, in states that a data folder seldom has, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from sightline.errors import InputError, ModelMismatchError, UnavailableError
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.conditions import Filter
from sightline.store.database import Database
from sightline.store.migrate import revision
from sightline.store.work_records import Registration
from tests.upgrade.old_schema import make_old

COLLECTION = "(id, name, model, revision, fingerprint, num_query_tokens, joint_dim, version, created_at)"
SEGMENT = "(id, collection_id, file, sha256, count, codec, bytes, state, created_at, retired_at)"
IMAGES = (
    "images (key, collection_id, image_id, sha256, uri, metadata, bytes, state, job_id, task_id, segment_id,"
    ' "row", created_at, buried_at)'
)
ROWS = f"""
INSERT INTO collections {COLLECTION} VALUES (1, 'my/pics 2020', 'toy', NULL, 'f1', 4, 8, 7, 1.0);
INSERT INTO collections {COLLECTION} VALUES (2, 'b', 'toy', 'main', 'f2', 4, 8, 0, 2.0);
INSERT INTO collections {COLLECTION} VALUES (3, 'gone', 'toy', NULL, 'f1', 4, 8, 0, 3.0);
INSERT INTO jobs VALUES ('j', 1, 'index', 'running', true, 0, 0, '{{}}', 1.0, 1.0);
INSERT INTO jobs VALUES ('d', 1, 'delete', 'done', true, 0, 2, '{{}}', 1.0, 1.0);
INSERT INTO tasks VALUES (1, 'j', 1, 'done', 'w', 1, NULL, 1.0, 1.0);
INSERT INTO tasks VALUES (2, 'j', 1, 'ready', NULL, 0, NULL, NULL, 1.0);
INSERT INTO segments {SEGMENT} VALUES (1, 1, 's1', 'x', 3, 'fp16', 30, 'retired', 1.0, 5.0);
INSERT INTO segments {SEGMENT} VALUES (2, 1, 's2', 'x', 2, 'fp16', 20, 'published', 2.0, NULL);
INSERT INTO segments {SEGMENT} VALUES (3, 2, 's3', 'x', 1, 'fp16', 10, 'published', 2.0, NULL);
INSERT INTO {IMAGES} VALUES (1, 1, 'a', 's-a', '/a', '{{}}', 1, 'live', 'j', 1, 2, 0, 1.0, NULL);
INSERT INTO {IMAGES} VALUES (2, 1, 'b', 's-b', '/b', '{{}}', 1, 'buried', 'j', 1, 2, 1, 1.0, 6.0);
INSERT INTO {IMAGES} VALUES (3, 1, 'c', 's-c', '/c', '{{}}', 1, 'buried', 'j', 1, 2, NULL, 1.0, 4.0);
INSERT INTO {IMAGES} VALUES (4, 1, 'd', 's-d', '/d', '{{}}', 1, 'pending', 'j', 2, NULL, NULL, 1.0, NULL);
INSERT INTO {IMAGES} VALUES (5, 1, 'e', '', '/e', '{{}}', 0, 'failed', 'j', 1, NULL, NULL, 1.0, NULL);
INSERT INTO {IMAGES} VALUES (6, 1, 'f', 's-f', '/f', '{{}}', 1, 'discarded', 'j', 1, NULL, NULL, 9.0, NULL);
INSERT INTO {IMAGES} VALUES (7, 1, 'g', 's-b', '/g', '{{}}', 1, 'buried', 'j', 1, NULL, NULL, 1.0, 8.0);
INSERT INTO {IMAGES} VALUES (8, 2, 'a', 's-c', '/a', '{{}}', 1, 'live', NULL, NULL, 3, 0, 1.0, NULL);
INSERT INTO {IMAGES} VALUES (99, 3, 'z', 's-z', '/z', '{{}}', 1, 'buried', NULL, NULL, NULL, NULL, 1.0, 1.0);
INSERT INTO generations VALUES (1, 4, 'g', 'x', '[2]', 3, 2.0);
DELETE FROM images WHERE key = 99;
DELETE FROM collections WHERE id = 3;
"""


def fill(connection: Connection) -> None:
    for statement in ROWS.strip().split(";\n"):
        connection.execute(text(statement.rstrip(";").replace(":", "\\:")))
    if connection.dialect.name == "postgresql":
        for table, column, last in (("collections", "id", 3), ("tasks", "id", 2), ("images", "key", 99)):
            connection.execute(text(f"SELECT setval('{table}_{column}_seq', {last})"))


@pytest.fixture
def old(catalog_url: str) -> Iterator[Database]:
    database = make_old(catalog_url)
    database.write(fill)
    yield database
    database.close()


@pytest.fixture
def catalog(old: Database, catalog_url: str) -> Iterator[Catalog]:
    catalog = open_catalog(catalog_url, now=lambda: 100.0)
    yield catalog
    assert catalog.check() == []
    catalog.close()


def test_collections_carry_the_model_of_their_one_feature_set(catalog: Catalog) -> None:
    assert [
        (c.name, c.model, c.revision, c.fingerprint, c.num_query_tokens, c.joint_dim, c.version, c.created_at)
        for c in catalog.collections()
    ] == [("b", "toy", "main", "f2", 4, 8, 0, 2.0), ("my/pics 2020", "toy", None, "f1", 4, 8, 7, 1.0)]
    with pytest.raises(ModelMismatchError):
        catalog.create_collection(
            "b", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
        )


def test_a_snapshot_has_the_segments_generation_and_dead_keys_that_it_had(catalog: Catalog) -> None:
    snapshot = catalog.snapshot("my/pics 2020")
    assert [segment.file for segment in snapshot.covered] == ["s2"]
    assert snapshot.uncovered == []
    assert snapshot.dead.tolist() == [2, 3]
    assert snapshot.generation is not None
    assert (snapshot.generation.number, snapshot.generation.file, snapshot.generation.kind) == (
        4,
        "g",
        "flat",
    )
    places = catalog.locations([1, 2, 3, 8])
    assert {key: (place.file, place.row) for key, place in places.items()} == {
        1: ("s2", 0),
        2: ("s2", 1),
        8: ("s3", 0),
    }
    assert [segment.file for segment in catalog.retired_segments(6.0)] == ["s1"]


def test_a_key_that_only_the_generation_holds_is_dead_until_the_next(catalog: Catalog) -> None:
    from dataclasses import replace

    snapshot = catalog.snapshot("my/pics 2020")
    assert snapshot.generation is not None
    later = replace(snapshot.generation, number=5, file="g5")
    assert catalog.publish_generation(snapshot.collection.id, 4, later)
    assert catalog.snapshot("my/pics 2020").dead.tolist() == [2]


def test_no_number_is_given_twice(catalog: Catalog) -> None:
    job = catalog.create_job(2, "index", {})
    catalog.register(job.id, [Registration("n", "s-n", "/n", 1)], batch_size=1)
    assert catalog.image("b", "n").key == 100
    made = catalog.create_collection(
        "next", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    assert made.id == 4
    catalog.cancel_job(job.id)


def test_a_pending_picture_is_leased_and_tasks_embed(catalog: Catalog) -> None:
    lease = catalog.acquire(2, "w", 60.0)
    assert lease is not None
    assert lease.kind == "embed"
    assert [(image.key, image.source) for image in lease.images] == [(4, None)]
    assert catalog.publish(lease, None, [(4, "broken", "no")])


def test_a_job_of_a_kind_that_is_no_more_still_reads(catalog: Catalog) -> None:
    assert catalog.job("d").kind == "delete"
    assert catalog.job_progress("d").deleted == 2


def test_a_name_that_breaks_the_rule_is_read_searched_and_deleted(catalog: Catalog) -> None:
    name = "my/pics 2020"
    assert catalog.image(name, "a").key == 1
    assert catalog.filter_keys(1, Filter()).tolist() == [1]
    same = catalog.create_collection(
        name, model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    assert same == catalog.collection(name)
    catalog.delete_collection(name)
    with pytest.raises(InputError, match="letters, digits"):
        catalog.create_collection(
            name, model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
        )


def test_bytes_are_released_since_their_last_row_ended_unless_another_has_them(catalog: Catalog) -> None:
    assert catalog.releasable_blobs(8.0, 10) == []
    assert catalog.releasable_blobs(8.1, 10) == ["s-b"]
    assert catalog.releasable_blobs(9.1, 10) == ["s-b", "s-f"]


def test_an_upgrade_that_breaks_off_leaves_the_old_catalog_and_can_be_repeated(
    old: Database, catalog_url: str
) -> None:
    old.write(lambda connection: connection.execute(text("CREATE TABLE released_blobs (x INTEGER)")))
    with pytest.raises((DBAPIError, UnavailableError), match="released_blobs"):
        open_catalog(catalog_url)
    assert old.read(revision) == "0001"
    assert old.read(lambda c: c.scalar(text("SELECT count(*) FROM images WHERE segment_id = 2"))) == 3
    old.write(lambda connection: connection.execute(text("DROP TABLE released_blobs")))
    catalog = open_catalog(catalog_url)
    assert catalog.check() == []
    assert catalog.snapshot("my/pics 2020").dead.tolist() == [2, 3]
    catalog.close()
