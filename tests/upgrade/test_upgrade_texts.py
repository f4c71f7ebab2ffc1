"""A data folder of schema 0004 opens: its captions are texts, which searches find, and it goes on living.

``folder-0.4.zip`` is ``folder-0.3.zip`` opened at schema 0004, with a key and a collection ``said`` besides:
three uploads, two of them with a caption.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from sightline.errors import ConflictError
from sightline.indexer.uploads import Upload
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.store.database import Database, make_engine
from sightline.store.migrate import HEAD, migrate_to
from tests.upgrade.old_schema import copy_rows, make_old
from tests.upgrade.test_upgrade_folder import DATA, opened, png


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    folder = tmp_path / "data"
    with zipfile.ZipFile(DATA / "folder-0.4.zip") as archive:
        archive.extractall(folder)
    if request.param == "sqlite":
        return Settings(data=folder)
    url = str(request.getfixturevalue("postgres_url"))
    old, sqlite = make_old(url, "0004"), make_engine(f"sqlite:///{folder}/catalog.sqlite")
    copy_rows(sqlite, old)
    old.close()
    sqlite.dispose()
    (folder / "catalog.sqlite").unlink()
    return Settings(data=folder, database_url=url)


def test_captions_become_texts_that_are_found_added_to_and_deleted(settings: Settings) -> None:
    with opened(settings) as services:
        catalog, find = services.catalog, services.search.find
        for name in ("colours", "packed", "said"):
            images = [
                image
                for state in ("live", "trashed")
                for image in catalog.images(name, limit=100, state=state).items
            ]
            texts = catalog.texts_of([image.key for image in images])
            assert {key: [one.text for one in some] for key, some in texts.items()} == {
                image.key: [image.caption] for image in images if image.caption
            }
        assert catalog.check() == []
        hits = find(SearchRequest("said", "ZOE at a kite", candidates=1)).results
        assert {hit.id: hit.matched_text for hit in hits}["one.png"] == "Zoë's kite over Ulm"
        collection = catalog.collection("said")
        job, _ = services.indexer.add("said", [Upload(png((7, 7, 7)), "four.png", "another kite")])
        services.indexer.wait(job.id, timeout=60)
        assert len(catalog.search_texts(collection.id, "kite", 9)) == 2
        catalog.delete_images(collection.id, ids=["one.png"])
        [left] = catalog.search_texts(collection.id, "kite", 9)
        assert left.text == "another kite"
        assert services.purging.images("said", ["four.png"]) == {"four.png"}
        assert catalog.search_texts(collection.id, "kite", 9) == []
        assert catalog.check() == []


def test_going_back_asks_about_verdicts_of_people_and_keeps_captions(settings: Settings) -> None:
    with opened(settings) as services:
        catalog, collection = services.catalog, services.catalog.collection("said")
        [hit] = catalog.search_texts(collection.id, "kite", 9)
        catalog.overrule_text(collection.id, hit.text_id, "dropped")
        database = Database(make_engine(settings.catalog_url))
        with pytest.raises(ConflictError, match="what people decided about texts"):
            migrate_to(database, "0004")
        catalog.withdraw_overruling(collection.id, hit.text_id)
    assert migrate_to(database, "0004") == HEAD
    assert migrate_to(database, HEAD) == "0004"
    database.close()
    with opened(settings) as services:
        [again] = services.catalog.search_texts(collection.id, "kite", 9)
        assert again.text == hit.text
        assert services.catalog.check() == []
