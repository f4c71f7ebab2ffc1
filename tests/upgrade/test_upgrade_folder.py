"""A data folder of version 0.1 opens: what it answered it still answers, and it goes on living."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sightline.indexer.uploads import Upload
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.store.database import make_engine
from sightline.wiring import open_installation
from tests.upgrade.old_schema import copy_rows, make_old

FOLDER = Path(__file__).parents[1] / "data" / "folder-0.1.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(FOLDER) as archive:
        archive.extractall(tmp_path)
    return tmp_path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def settings(request: pytest.FixtureRequest, folder: Path) -> Settings:
    """The folder as it was, or with its catalog in PostgreSQL, as version 0.1 would have had it."""
    if request.param == "sqlite":
        return Settings(data=folder)
    url = str(request.getfixturevalue("postgres_url"))
    old, sqlite = make_old(url), make_engine(f"sqlite:///{folder}/catalog.sqlite")
    copy_rows(sqlite, old)
    old.close()
    sqlite.dispose()
    (folder / "catalog.sqlite").unlink()
    return Settings(data=folder, database_url=url)


@contextmanager
def opened(settings: Settings) -> Iterator[Any]:
    with open_installation(settings, inline=True) as services:
        yield services


def expected(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads((folder / "expected.json").read_text())
    return found


def differences(services: Any, folder: Path) -> list[str]:
    """Every answer that is not the one of version 0.1: ids, keys, scores, captions, metadata."""
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
            assert services.consistency.disagreements(collection) == []


def test_opening_it_again_changes_nothing(settings: Settings, folder: Path) -> None:
    for _ in range(2):
        with opened(settings) as services:
            assert differences(services, folder) == []


def test_it_is_embedded_into_added_to_replaced_in_and_deleted_from(settings: Settings, folder: Path) -> None:
    with opened(settings) as services:
        catalog, add = services.catalog, services.indexer.add
        assert catalog.image("packed", "later.png").state == "pending"
        assert services.indexer.run_pending() == 1
        assert catalog.image("packed", "later.png").state == "live"

        job, _ = add("colours", [Upload(png((9, 9, 9)), "new.png"), Upload(png((0, 0, 0)), "red-blue.png")])
        services.indexer.wait(job.id, timeout=60)
        collection = catalog.collection("colours")
        assert catalog.delete_images(collection.id, ids=["white-white.png"]) == 1
        [first, *_] = catalog.images("colours", limit=100).items
        assert first.source is None
        assert catalog.image("colours", "new.png").source == "upload:"

        found = services.search.find(SearchRequest("colours", "red left blue right", limit=40)).results
        ids = {hit.id for hit in found}
        before = {hit[0] for hit in expected(folder)["colours"][0]["hits"]}
        assert ids == before - {"white-white.png"} | {"new.png"}
        assert {hit.id: hit.key for hit in found}["red-blue.png"] > max(
            hit[1] for hit in expected(folder)["colours"][0]["hits"]
        )
        for name in ("colours", "packed"):
            services.builder.fold(name)
            assert services.consistency.disagreements(name) == []
        assert catalog.check() == []
        assert {
            hit.id for hit in services.search.find(SearchRequest("colours", "red", limit=40)).results
        } == ids


def test_what_was_replaced_and_deleted_before_is_released(settings: Settings) -> None:
    with opened(settings) as services:
        wanted = {
            image.sha256
            for name in ("colours", "packed")
            for state in ("live", "pending", "failed")
            for image in services.catalog.images(name, limit=100, state=state).items
        }
        released = set(services.catalog.releasable_blobs(1e12, 100))
        assert released == set(services.blobs) - wanted
