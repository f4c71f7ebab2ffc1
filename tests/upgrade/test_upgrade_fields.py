"""A data folder of schema 0005 opens: filters find by its metadata what they found, and it goes on living.

``folder-0.5.zip`` is ``folder-0.4.zip`` opened at schema 0005, with a collection ``told`` besides: uploads
with metadata, one of them in the trash.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from sightline.indexer.uploads import Upload
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.store.database import Database, make_engine
from sightline.store.filters import parse_filter
from sightline.store.migrate import HEAD, migrate_to
from tests.store.test_store_filters import holds
from tests.upgrade.old_schema import copy_rows, make_old
from tests.upgrade.test_upgrade_folder import DATA, opened, png

FILTERS: list[dict[str, Any]] = [
    {"field": "year", "equals": 1999},
    {"field": "year", "range": {"gt": 2000}},
    {"field": "tags", "equals": "sea"},
    {"field": "tags", "exists": True},
    {"field": "gps.lat", "range": {"lt": 50}},
    {"field": "indoor", "equals": True},
    {"field": "notes", "contains": "NOTHING"},
    {"field": "notes", "contains": "LONG long"},
    {"must_not": [{"field": "year", "exists": True}]},
    {"field": "id", "contains": "1"},
]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    folder = tmp_path / "data"
    with zipfile.ZipFile(DATA / "folder-0.5.zip") as archive:
        archive.extractall(folder)
    if request.param == "sqlite":
        return Settings(data=folder)
    url = str(request.getfixturevalue("postgres_url"))
    old, sqlite = make_old(url, "0005"), make_engine(f"sqlite:///{folder}/catalog.sqlite")
    copy_rows(sqlite, old)
    old.close()
    sqlite.dispose()
    (folder / "catalog.sqlite").unlink()
    return Settings(data=folder, database_url=url)


def found_as_told(services: Any) -> list[int]:
    """How many images each filter finds; as many as it fits by what is told of them, in searches too."""
    catalog, counts = services.catalog, []
    number, images = catalog.collection("told").id, catalog.images("told", limit=100).items
    for written in FILTERS:
        filter = parse_filter(written)
        wanted = [image.key for image in images if holds(image, written)]
        assert catalog.filter_keys(number, filter).tolist() == wanted, written
        hits = services.search.find(SearchRequest("told", "red", limit=40, filter=written)).results
        assert sorted(hit.key for hit in hits) == wanted, written
        counts.append(len(wanted))
    return counts


def test_metadata_is_found_added_to_changed_deleted_and_restored(settings: Settings) -> None:
    with opened(settings) as services:
        catalog = services.catalog
        assert catalog.check() == []
        assert found_as_told(services) == [1, 2, 2, 3, 1, 1, 0, 1, 1, 1]
        number = catalog.collection("told").id
        job, _ = services.indexer.add("told", [Upload(png((7, 7, 7)), "new.png", None, {"year": 1999})])
        services.indexer.wait(job.id, timeout=60)
        catalog.update_image("told", "3.png", metadata={"year": 1999, "tags": ["sea"]})
        assert found_as_told(services)[:3] == [3, 1, 3]
        assert catalog.delete_images(number, filter=parse_filter(FILTERS[0])) == 3
        assert found_as_told(services)[0] == 0
        assert len(catalog.restore_images(number).restored) == 4
        assert found_as_told(services)[:3] == [4, 1, 3]
        assert services.purging.images("told", ["4.png"]) == {"4.png"}
        assert catalog.check() == []


def test_the_way_back_and_here_again_keeps_what_filters_find(settings: Settings) -> None:
    with opened(settings) as services:
        before = found_as_told(services)
    url = settings.database_url or f"sqlite:///{settings.data}/catalog.sqlite"
    database = Database(make_engine(url))
    assert migrate_to(database, "0005") == HEAD
    database.close()
    with opened(settings) as services:
        assert found_as_told(services) == before
        assert services.catalog.check() == []
