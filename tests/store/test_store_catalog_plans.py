"""How SQLite finds rows: a few images are never looked for among all of their collection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from sightline.store.catalog import Catalog, open_catalog
from sightline.store.filters import parse_filter
from sightline.store.work_records import Failure
from tests.store.catalog_world import World, item, opened, sha_of

NAMES = [f"{number:03}" for number in range(200)]


@pytest.fixture
def world(tmp_path: Path) -> Any:
    with opened(f"sqlite:///{tmp_path}/catalog.sqlite") as world:
        world.catalog.create_collection(
            "pictures", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
        )
        yield world


def plans(catalog: Catalog, action: Callable[[], object]) -> list[str]:
    """One line for each table that a statement of this action goes through, with its parameters bound."""
    found: list[str] = []

    def explain(connection: Any, _: Any, statement: str, parameters: Any, __: Any, many: bool) -> None:
        if not many and statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "INSERT"):
            cursor = connection.connection.cursor()
            found.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    engines = (catalog.database._readers, catalog.database._writers)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", explain)
    action()
    for engine in engines:
        event.remove(engine, "before_cursor_execute", explain)
    return found


def wide(plan: str) -> bool:
    """Goes through all images or placements, or all images of one state."""
    whole = plan.startswith(("SCAN images", "SCAN placements", "SCAN task_items"))
    return whole or plan.endswith("ix_images_collection_id_state_key (collection_id=? AND state=?)")


ACTIONS: dict[str, Callable[[World], object]] = {
    "register": lambda world: world.job(*map(item, NAMES)),
    "register again": lambda world: world.job(*(item(name, f"new {name}") for name in NAMES)),
    "publish": lambda world: world.add(*(item(name, f"newer {name}") for name in NAMES[:3])),
    "failure": lambda world: fail(world),
    "image": lambda world: world.catalog.image("pictures", "150"),
    "an id in other letters": lambda world: other_letters(world),
    "describe": lambda world: world.catalog.describe(world.collection.id, list(range(1, 100))),
    "locations": lambda world: world.catalog.locations(list(range(1, 100))),
    "by sha": lambda world: world.catalog.find_live_by_sha(world.collection.id, list(map(sha_of, NAMES))),
    "snapshot": lambda world: world.catalog.snapshot("pictures"),
    "delete": lambda world: world.catalog.delete_images(world.collection.id, ids=NAMES[5:9]),
    "prune": lambda world: prune(world),
    "released": lambda world: world.catalog.releasable_blobs(1e9, 10),
    "referenced": lambda world: world.catalog.is_referenced(sha_of("000")),
    "caption": lambda world: caption(world),
    "filter": lambda world: world.catalog.filter_keys(world.collection.id, parse_filter(FILTER)),
    "what changed": lambda world: world.catalog.filtered(world.collection.id, parse_filter(FILTER), since=1),
    "delete by filter": lambda world: world.catalog.delete_images(
        world.collection.id, filter=parse_filter(FILTER)
    ),
}
FILTER = {"must": [{"field": "tag", "in": ["a", "b"]}, {"field": "number", "range": {"gt": 3}}]}


def fail(world: World) -> None:
    job = world.catalog.create_job(world.collection.id, "index", {})
    world.catalog.record_failures(job.id, [Failure("broken", "/broken", "unreadable", "no")])


def other_letters(world: World) -> None:
    world.add(item("é"), item("e\u0301"))
    assert world.catalog.image("pictures", "é").image_id == "é"
    assert world.catalog.update_image("pictures", "é", caption="new").image_id == "é"
    assert world.catalog.delete_images(world.collection.id, ids=["é"]) == 1


def prune(world: World) -> None:
    world.add(*(replace(item(f"other {name}"), source="/other") for name in NAMES[:5]))
    job = world.catalog.create_job(world.collection.id, "index", {})
    assert world.catalog.prunable(job.id, "/other").gone == 5
    assert world.catalog.prune(job.id, "/other", most=5) == 5


def caption(world: World) -> None:
    job = world.catalog.create_job(world.collection.id, "caption", {})
    [task] = world.catalog.add_tasks(job.id, "caption", list(world.live().values())[:4], 9)
    assert world.catalog.finish(world.lease(task))
    world.catalog.job_errors(job.id)
    world.catalog.retry_job(job.id)
    world.catalog.cancel_job(job.id)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_few_images_are_found_by_an_index_of_their_own(world: World, action: str) -> None:
    world.add(*map(item, NAMES), batch_size=50)
    found = plans(world.catalog, lambda: ACTIONS[action](world))
    assert found
    assert [plan for plan in found if wide(plan)] == []


def test_the_planner_is_told_of_every_index_of_images(tmp_path: Path) -> None:
    from sqlalchemy import text

    catalog = open_catalog(f"sqlite:///{tmp_path}/catalog.sqlite")
    told = catalog.database.read(lambda c: c.scalar(text("SELECT count(*) FROM sqlite_stat1")))
    ask = text(
        "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'images'"
        " AND name <> 'ix_images_digest'"
    )  # which no query uses
    indexes = catalog.database.read(lambda c: c.scalar(ask))
    assert told == indexes == 10
    catalog.close()


def test_an_id_in_english_letters_is_looked_up_as_before(world: World) -> None:
    """The forms of other ids cost more statements; these have one only."""
    world.add(*map(item, NAMES), batch_size=50)
    searches = plans(world.catalog, lambda: world.catalog.image("pictures", "150"))
    assert len([plan for plan in searches if "images" in plan]) == 1
    named = [plan for plan in searches if "image_id=?" in plan]
    assert named == ["SEARCH images USING INDEX uq_images_live (collection_id=? AND image_id=?)"]


def test_values_of_fields_are_read_from_their_index_alone(world: World) -> None:
    world.add(*(item(name, tag="a", number=int(name)) for name in NAMES), batch_size=50)
    found = plans(world.catalog, lambda: ACTIONS["filter"](world))
    values = [plan for plan in found if "field_values" in plan]
    assert [plan.split(" (")[1] for plan in values] == [
        "field_id=? AND kind=? AND number=? AND text=?)",
        "field_id=? AND kind=? AND number>?)",
    ]
    assert all("COVERING INDEX" in plan for plan in values)


def test_what_changed_since_is_found_by_its_version(world: World) -> None:
    world.add(*map(item, NAMES), batch_size=50)
    found = plans(world.catalog, lambda: ACTIONS["what changed"](world))
    assert (
        "SEARCH images USING INDEX ix_images_collection_id_changed (collection_id=? AND changed>?)" in found
    )
