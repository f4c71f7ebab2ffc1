"""Data folders of earlier versions open: what they answered they still answer, and they go on living.

``folder-0.2.zip`` was made at schema 0002 with the toy model: pictures of two colours in two collections, one
of them replaced, deleted and merged, a third one deleted, one picture pending, some failed.
``folder-0.3.zip`` is the same at schema 0003: a deleted picture and a deleted collection wait in the trash.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sightline.indexer.uploads import Upload
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.store.database import Database, make_engine
from sightline.store.migrate import HEAD, migrate_to
from sightline.store.ownership import MARKER
from sightline.wiring import open_installation
from tests.upgrade.old_schema import copy_rows, make_old

DATA = Path(__file__).parents[1] / "data"
SCHEMAS = {"0.1": "0001", "0.2": "0002", "0.3": "0003"}


@pytest.fixture(params=SCHEMAS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, version: str) -> Path:
    with zipfile.ZipFile(DATA / f"folder-{version}.zip") as archive:
        archive.extractall(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def settings(request: pytest.FixtureRequest, folder: Path, version: str) -> Settings:
    """The folder as it was, or with its catalog in PostgreSQL, as its version would have had it."""
    if request.param == "sqlite":
        return Settings(data=folder)
    url = str(request.getfixturevalue("postgres_url"))
    old, sqlite = make_old(url, SCHEMAS[version]), make_engine(f"sqlite:///{folder}/catalog.sqlite")
    copy_rows(sqlite, old)
    old.close()
    sqlite.dispose()
    (folder / "catalog.sqlite").unlink()
    return Settings(data=folder, database_url=url)


def toy(folder: Path) -> Settings:
    """Whose new collections are the toy's."""
    settings = Settings(data=folder)
    return settings.model_copy(update={"model": replace(settings.model, name="toy")})


@contextmanager
def opened(settings: Settings) -> Iterator[Any]:
    with open_installation(settings, inline=True) as services:
        yield services


def expected(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads((folder / "expected.json").read_text())
    return found


def differences(services: Any, folder: Path) -> list[str]:
    """Every answer that is not the one that it was: ids, keys, scores, captions, metadata."""
    wrong = []
    for collection, asked in expected(folder).items():
        for question in asked:
            request = SearchRequest(collection, question["text"], limit=40, rerank=question["rerank"])
            answer = services.search.find(request)
            hits = [
                [
                    *(hit.id, hit.key, hit.itc, hit.itm_logit, hit.match_probability),
                    *(hit.caption, dict(hit.metadata)),
                ]
                for hit in answer.results
            ]
            same = len(hits) == len(question["hits"]) and answer.images == question["images"]
            if not same or any(map(differs, hits, question["hits"])):
                wrong.append(f"{collection}: {question['text']!r}, rerank={question['rerank']}")
    return wrong


def differs(found: list[Any], wanted: list[Any]) -> bool:
    exact = [*found[:2], *found[5:]] == [*wanted[:2], *wanted[5:]]
    return not exact or found[2:5] != pytest.approx(wanted[2:5], abs=1e-6)


def png(*colours: tuple[int, int, int]) -> bytes:
    picture, out = Image.new("RGB", (16, 16), colours[0]), BytesIO()
    picture.paste(colours[-1], (8, 0, 16, 16))
    picture.save(out, "PNG")
    return out.getvalue()


def test_every_answer_is_the_one_that_it_was(settings: Settings, folder: Path) -> None:
    assert sum(map(len, expected(folder).values())) == 16
    with opened(settings) as services:
        assert differences(services, folder) == []
        assert services.catalog.check() == []
        for collection in ("colours", "packed"):
            assert services.consistency.disagreements(services.catalog.collection(collection)) == []


def test_opening_it_again_changes_nothing(settings: Settings, folder: Path) -> None:
    for _ in range(2):
        with opened(settings) as services:
            assert differences(services, folder) == []


def test_it_is_embedded_into_added_to_replaced_in_and_deleted_from(
    settings: Settings, folder: Path, version: str
) -> None:
    # Each picture is replaced by its own source.
    replaced = "red-blue.png" if version == "0.1" else "uploaded.png"
    with opened(settings) as services:
        catalog, add = services.catalog, services.indexer.add
        assert catalog.image("packed", "later.png").state == "pending"
        assert services.indexer.run_pending() == 1
        assert catalog.image("packed", "later.png").state == "live"

        job, _ = add("colours", [Upload(png((9, 9, 9)), "new.png"), Upload(png((0, 0, 0)), replaced)])
        services.indexer.wait(job.id, timeout=60)
        collection = catalog.collection("colours")
        assert catalog.delete_images(collection.id, ids=["white-white.png"]) == 1
        sources = {image.image_id: image.source for image in catalog.images("colours", limit=100).items}
        assert sources["green-blue.png"] == (None if version == "0.1" else "/photos/manifest.jsonl")
        assert sources["new.png"] == "upload:"

        found = services.search.find(SearchRequest("colours", "red left blue right", limit=40)).results
        ids = {hit.id for hit in found}
        before = {hit[0] for hit in expected(folder)["colours"][0]["hits"]}
        assert ids == before - {"white-white.png"} | {"new.png"}
        assert {hit.id: hit.key for hit in found}[replaced] > max(
            hit[1] for hit in expected(folder)["colours"][0]["hits"]
        )
        for name in ("colours", "packed"):
            services.builder.fold(name)
            assert services.consistency.disagreements(services.catalog.collection(name)) == []
        assert catalog.check() == []
        assert {
            hit.id for hit in services.search.find(SearchRequest("colours", "red", limit=40)).results
        } == ids


def test_a_new_collection_is_indexed_into_it_and_pruned(folder: Path, version: str) -> None:
    pictures = folder.parent / "more"
    pictures.mkdir()
    for number in range(12):
        (pictures / f"more-{number}.png").write_bytes(png((number, 0, 0), (0, 0, number)))
    with opened(toy(folder)) as services:
        services.collections.create("more")
        for _ in range(2):
            job = services.indexer.index([str(pictures)], "more", prune=True)
            services.indexer.wait(job.id, timeout=60)
            (pictures / "more-3.png").unlink(missing_ok=True)
        assert services.catalog.job_progress(job.id).deleted == 1
        assert services.catalog.collection_counts("more")["live"] == 11
        other = [line for line in differences(services, folder) if not line.startswith("packed")]
        assert other == [], "of packed the pending picture is live by now"
        assert services.catalog.check() == []


def test_its_folders_are_taken_over_and_what_they_hold_stays(folder: Path, version: str) -> None:
    """Of 0.2: three segments were merged, and three are those of a collection that is gone."""
    segments = folder / "segments"
    before = {path.name for path in segments.glob("*.safetensors")}
    with opened(Settings(data=folder)) as services:
        named = services.catalog.segment_files()
        retired = {segment.file for segment in services.catalog.retired_segments(1e12)}
        assert (len(before - named), len(retired)) == {"0.1": (0, 0), "0.2": (3, 3), "0.3": (0, 3)}[version]
        assert services.builder.step() is not None
        assert differences(services, folder) == []
        owner = services.catalog.installation_id()
        for name in (".", "segments", "generations", "originals"):
            assert owner in (folder / name / MARKER).read_text()
        left = {path.name for path in segments.glob("*.safetensors")}
        assert named - retired <= left
        assert before - named <= left, "what nobody names waits for its hour"


def test_it_goes_back_to_its_own_schema_and_comes_again(folder: Path, version: str) -> None:
    settings = Settings(data=folder)
    with opened(settings) as services:
        services.indexer.run_pending()
        live = services.catalog.collection_counts("packed")["live"]
    database = Database(make_engine(settings.catalog_url))
    assert migrate_to(database, SCHEMAS[version]) == HEAD
    database.close()
    with opened(settings) as services:
        assert services.catalog.check() == []
        assert services.catalog.collection_counts("packed")["live"] == live
        for name in ("colours", "packed"):
            assert services.consistency.disagreements(services.catalog.collection(name)) == []


def test_what_was_replaced_and_deleted_before_is_released(settings: Settings) -> None:
    with opened(settings) as services:
        wanted = {
            image.sha256
            for name in ("colours", "packed")
            for state in ("live", "pending", "failed", "trashed")
            for image in services.catalog.images(name, limit=100, state=state).items
        }
        released = set(services.catalog.releasable_blobs(1e12, 100))
        assert released == set(services.blobs) - wanted


def test_its_pictures_are_pruned_deleted_restored_and_purged(
    settings: Settings, folder: Path, version: str
) -> None:
    """The originals that it keeps are all that there is of the source, which has moved since."""
    with opened(settings) as services:
        catalog = services.catalog
        photos = folder.parent / "moved"
        photos.mkdir()
        for image in catalog.images("packed", limit=100).items:
            if image.image_id != "red-red.png":
                (photos / image.image_id).write_bytes(services.blobs.get(image.sha256))
        moved_from = "unknown:" if version == "0.1" else "/photos"
        job = services.indexer.index([str(photos)], "packed", prune=True, moved_from=moved_from)
        progress = catalog.job_progress(job.id)
        assert (progress.unchanged, progress.deleted, progress.failed) == (len(list(photos.iterdir())), 1, 0)
        [trashed] = catalog.images("packed", state="trashed").items
        assert trashed.image_id == "red-red.png"
        assert {line.partition(":")[0] for line in differences(services, folder)} == {"packed"}

        assert services.builder.step() is not None
        packed = catalog.collection("packed")
        assert catalog.restore_images(packed.id).restored == ["red-red.png"]
        assert differences(services, folder) == []
        catalog.delete_collection("packed")
        assert services.builder.step() is not None
        assert catalog.restore_collection("packed").id == packed.id
        assert differences(services, folder) == []

        assert services.purging.images("packed", ["red-red.png"]) == {"red-red.png"}
        assert services.blobs.has(trashed.sha256), "another collection has the same picture"
        assert {line.partition(":")[0] for line in differences(services, folder)} == {"packed"}
        found = services.search.find(SearchRequest("packed", "red", limit=40, rerank=False)).results
        assert sorted(hit.id for hit in found) == sorted(path.name for path in photos.iterdir())
        files = [segment.file for segment in catalog.snapshot("packed").segments]
        assert not any(trashed.key in services.segments.keys(file) for file in files)
        assert catalog.outstanding_purges(1e12, 0, 9) == []
        assert catalog.check() == []
        assert services.consistency.disagreements(catalog.collection("packed")) == []
