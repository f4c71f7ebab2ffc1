"""Calibrations: the newest of a collection and its model serves, and a collection takes its own with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sightline.errors import NotFoundError
from tests.store.catalog_world import World, emptied, opened

PLATT = {"kind": "platt", "temperature": 1.25}


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def test_the_newest_of_a_fingerprint_serves_and_all_are_kept(world: World) -> None:
    catalog, here = world.catalog, world.collection.id
    assert catalog.newest_calibration(here, "one") is None
    added = [
        catalog.add_calibration(here, fingerprint, kind, PLATT, {"ece": 0.1})
        for fingerprint, kind in (("one", "platt"), ("one", "isotonic"), ("two", "platt"), ("one", "default"))
    ]
    assert added == [1, 2, 1, 3]
    newest = catalog.newest_calibration(here, "one")
    assert newest is not None
    assert (newest.version, newest.kind, newest.parameters, newest.report) == (
        3,
        "default",
        PLATT,
        {"ece": 0.1},
    )
    assert [one.kind for one in catalog.calibration_history(here, "one")] == ["default", "isotonic", "platt"]


def test_a_collection_that_is_purged_takes_its_calibrations_with_it(world: World) -> None:
    catalog, here = world.catalog, world.collection
    catalog.add_calibration(here.id, here.fingerprint, "platt", PLATT, {})
    catalog.delete_collection(here.name)
    assert catalog.newest_calibration(here.id, here.fingerprint) is not None, "the trash keeps it"
    catalog.begin_collection_purge(here.id)
    assert catalog.newest_calibration(here.id, here.fingerprint) is None
    with pytest.raises(NotFoundError):
        catalog.add_calibration(here.id, here.fingerprint, "platt", PLATT, {})
