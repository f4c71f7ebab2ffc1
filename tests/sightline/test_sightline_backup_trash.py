"""What lies in the trash is in a backup, and comes back from the restored trash as it was."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.store.ownership import MARKER, STAMP
from sightline.store.places import LocalPlace
from sightline.wiring import Installation, open_installation
from tests.services import _postgres_schema
from tests.sightline.backup_world import answers, fill, problems, settings_of, upload
from tests.sightline.conftest import index, save

HOLIDAYS = "holidays"


def holidays(services: Installation) -> list[tuple[str, float, float]]:
    found = services.search.find(SearchRequest(HOLIDAYS, "red left", limit=20)).results
    return [(hit.id, hit.score, hit.itc) for hit in found]


def fill_both(services: Installation, folder: Path) -> None:
    """Two collections, folded in part, one picture pending in the second."""
    fill(services, folder / "pictures")
    for number, name in enumerate("xyz"):
        save(folder / "holidays", name, ("red", "blue", "white")[number], "green")
    index(services, folder / "holidays", HOLIDAYS)
    services.builder.fold(HOLIDAYS)
    save(folder / "holidays", "late", "red", "yellow")
    index(services, folder / "holidays", HOLIDAYS)
    save(folder / "holidays", "pending", "purple", "red")
    services.indexer.index([str(folder / "holidays")], HOLIDAYS)


def delete_much(services: Installation) -> None:
    """An uploaded picture, a referenced one, and a whole collection; merged and folded after that."""
    collection = services.catalog.collection("pictures")
    services.catalog.delete_images(collection.id, ids=["up1", "a.png"])
    services.catalog.delete_collection(HOLIDAYS)
    assert services.builder.step() is not None
    services.builder.fold("pictures")


def restore_from_trash(services: Installation) -> None:
    done = services.catalog.restore_images(services.catalog.collection("pictures").id, ["up1", "a.png"])
    assert (done.restored, done.refused) == (["a.png", "up1"], [])
    assert services.catalog.restore_collection(HOLIDAYS).name == HOLIDAYS


def check_restored(settings: Settings, before: tuple[Any, Any]) -> None:
    assert problems(settings) == []
    with open_installation(settings, inline=True) as services:
        assert [one.name for one in services.catalog.trashed_collections()] == [HOLIDAYS]
        restore_from_trash(services)
        assert (answers(services), holidays(services)) == before
        image = services.catalog.image("pictures", "up1")
        assert services.originals.read(image)
        assert services.blobs.get_thumbnail(image.sha256)
        assert services.indexer.run_pending() == 1
        assert services.catalog.image(HOLIDAYS, "pending.png").state == "live"
    assert problems(settings) == []


@pytest.mark.services
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_restored_trash_gives_back_pictures_and_collections_that_answer_the_same(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = LocalPlace(tmp_path / "backup")
    if database == "sqlite":
        _from_trash(settings_of(tmp_path / "data"), settings_of(tmp_path / "second"), place, tmp_path)
        return
    shared = request.getfixturevalue("_postgres_shared")
    with _postgres_schema(shared) as one, _postgres_schema(shared) as other:
        first, second = settings_of(tmp_path / "data", one), settings_of(tmp_path / "second", other)
        _from_trash(first, second, place, tmp_path)


def _from_trash(first: Settings, second: Settings, place: LocalPlace, folder: Path) -> None:
    with open_installation(first, inline=True) as services:
        fill_both(services, folder)
        before = answers(services), holidays(services)
        delete_much(services)
        assert services.backup.run(place).point.missing == ()
    with open_installation(second) as services:
        assert services.restore.run(place).missing == []
    check_restored(second, before)


def test_folders_that_were_another_ones_are_cleaned_and_indexed_into_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Marks and stamps of the installation that was replaced stand in them, later than the backup's."""
    settings, place = settings_of(tmp_path / "data"), LocalPlace(tmp_path / "backup")
    with open_installation(settings, inline=True) as services:
        fill(services, tmp_path / "pictures")
        assert services.builder.step() is not None
        services.backup.run(place)
        old = services.catalog.installation_id()
        upload(services, "later", "purple")
        assert services.builder.step() is not None
        assert (settings.segments_folder / STAMP).exists()
    with open_installation(settings) as services:
        services.restore.run(place, replace=True)
    caplog.set_level(logging.WARNING)
    with open_installation(settings, inline=True) as services:
        new = services.catalog.installation_id()
        assert new != old
        save(tmp_path / "more", "m", "white", "blue")
        index(services, tmp_path / "more", "more")
        assert [hit.id for hit in services.search.find(SearchRequest("more", "blue")).results] == ["m.png"]
        before = {path.name for path in settings.segments_folder.glob("*.safetensors")}
        (segment,) = services.catalog.snapshot("more").segments
        services.catalog.delete_collection("more")
        services.catalog.empty_collection("more")
        assert services.builder.step() is not None
        left = {path.name for path in settings.segments_folder.glob("*.safetensors")}
        assert segment.file in before - left, "the builder removes files at once"
        for folder in (settings.segments_folder, settings.generations_folder, settings.data_folder):
            assert new in (folder / MARKER).read_text()
        stamps = services.catalog.known_stamps()
        assert (settings.segments_folder / STAMP).read_text().strip() in stamps
    assert not [one for one in caplog.messages if "another copy of this catalog" in one]
    assert problems(settings) == []
