"""Hundreds of collections cost what a few cost: statements are counted, not seconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from sightline.api.lacking import AT_ONCE, Lacking
from sightline.store.catalog import Catalog
from sightline.wiring import Installation

MANY = 300


def statements(catalog: Catalog, action: Callable[[], object]) -> int:
    """How many statements that read the catalog were given to it by an action. Who asks is looked up anew
    when a second has passed: that is left out.
    """
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "FROM" in statement and not any(f"FROM {one}" in statement for one in ("keys", "installation")):
            seen.append(statement)

    engines = (catalog.database._readers, catalog.database._writers)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    action()
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def make(catalog: Catalog, first: int, end: int) -> None:
    for number in range(first, end):
        catalog.create_collection(
            f"more-{number:03}",
            model="toy",
            revision=None,
            fingerprint=f"f{number}",
            num_query_tokens=4,
            joint_dim=8,
        )


def test_asking_for_everything_takes_as_many_statements_for_300_collections_as_for_20(
    filled: TestClient, services: Installation
) -> None:
    addresses = ("/readyz", "/metrics", "/v1/collections", "/v1/trash", "/")
    catalog = services.catalog
    make(catalog, 0, AT_ONCE)
    few = {one: statements(catalog, lambda one=one: filled.get(one)) for one in addresses}
    make(catalog, AT_ONCE, MANY)
    many = {one: statements(catalog, lambda one=one: filled.get(one)) for one in addresses}
    assert many == few
    assert len(filled.get("/v1/collections").json()["items"]) == MANY + 1
    assert f"and {MANY + 1 - 20} more" in filled.get("/readyz").json()["checks"]["generation"]["detail"]
    assert len(re.findall(r"^sightline_generation\{", filled.get("/metrics").text, re.M)) == MANY + 1


def test_an_overview_says_of_every_collection_what_its_own_counts_say(
    filled: TestClient, services: Installation
) -> None:
    filled.delete("/v1/collections/pictures/images/red")
    make(services.catalog, 0, 3)
    overview = services.catalog.overview()
    assert [one.collection for one in overview] == services.catalog.collections()
    for one in overview:
        name = one.collection.name
        assert one.counts == services.catalog.collection_counts(name)
        generation = services.catalog.snapshot(name).generation
        assert (one.generation, one.generation_images) == (
            (0, 0) if generation is None else (generation.number, generation.images)
        )
    assert overview[-1].counts["live"] == len(filled.get("/v1/collections/pictures/images").json()["items"])


@pytest.mark.parametrize("broken", ["more-000", "more-040", "more-059"])
def test_every_collection_that_lacks_something_is_told_after_a_few_calls(
    client: TestClient, services: Installation, broken: str
) -> None:
    make(services.catalog, 0, 3 * AT_ONCE)
    said = {broken: ("A file is lost.",)}
    lacking = Lacking(services.catalog, lambda snapshot: said.get(snapshot.collection.name, ()))
    collections = services.catalog.collections()
    assert [lacking(collections) for _ in range(3)][-1] == said
    assert lacking(collections) == said
    said.clear()
    assert [lacking(collections) for _ in range(3)][-1] == {}
    assert lacking([]) == {}
