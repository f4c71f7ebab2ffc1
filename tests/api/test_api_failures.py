"""Many failures at once are written in batches, and every one of them can be read, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from typer.testing import CliRunner

from sightline.cli.main import app
from sightline.errors import NotFoundError
from sightline.indexer.uploads import Upload
from sightline.settings import Settings
from sightline.wiring import Installation
from tests.api.installation import png, problem

MANY = 999
FEW_STATEMENTS = 100
"""Less than one for each failure by far, and enough for a job, its counts and a few batches."""


@contextmanager
def counted(services: Installation) -> Iterator[list[str]]:
    """The statements that are sent to the database meanwhile."""
    sent: list[str] = []

    def note(*told: object) -> None:
        sent.append(str(told[2]))

    engine = services.catalog.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def collection(client: TestClient) -> TestClient:
    client.post("/v1/collections", json={"name": "pictures"})
    return client


def test_an_upload_of_empty_files_is_written_in_batches(
    services: Installation, collection: TestClient
) -> None:
    uploads = [Upload(b"", f"image {number}") for number in range(MANY)] + [Upload(png("red"), "good")]
    with counted(services) as sent:
        job, lines = services.indexer.add("pictures", uploads)
    assert [line.status for line in lines] == ["failed"] * MANY + ["pending"]
    assert services.catalog.job_progress(job.id).failed == MANY
    assert len(sent) < FEW_STATEMENTS


def test_a_folder_of_empty_files_is_written_in_batches(
    services: Installation, collection: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    for number in range(MANY):
        (tmp_path / "source" / f"{number}.png").touch()
    with counted(services) as sent:
        job = services.indexer.index([str(tmp_path / "source")], "pictures")
    assert services.catalog.job_progress(job.id).failed == MANY
    assert len(sent) < FEW_STATEMENTS


def test_ids_of_other_pictures_are_refused_in_batches(
    services: Installation, collection: TestClient, tmp_path: Path
) -> None:
    services.indexer.add("pictures", [Upload(png("red"), f"{number}.png") for number in range(200)])
    services.indexer.run_pending()
    (tmp_path / "source").mkdir()
    for number in range(200):
        (tmp_path / "source" / f"{number}.png").write_bytes(png("blue"))
    with counted(services) as sent:
        job = services.indexer.index([str(tmp_path / "source")], "pictures")
    assert services.catalog.job_reasons(job.id) == {"id_taken": 200}
    assert len(sent) < FEW_STATEMENTS


def test_every_failure_can_be_read_page_by_page(
    services: Installation, collection: TestClient, settings: Settings
) -> None:
    uploads = [Upload(b"", f"image {number}") for number in range(2300)]
    job, _ = services.indexer.add("pictures", uploads)
    wanted = [f"image {number}#{number}" for number in range(2300)]

    shown = collection.get(f"/v1/jobs/{job.id}").json()
    assert (len(shown["errors"]), shown["progress"]["failed"]) == (100, 2300)
    found, cursor = [], ""
    for _ in range(5):
        answer = collection.get(f"{shown['errors_url']}?limit=700{cursor}").json()
        found += [line["id"] for line in answer["items"]]
        assert answer["total"] == 2300
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert found == wanted

    run = CliRunner()
    data = ["--data", str(settings.data_folder)]
    lines = run.invoke(app, ["jobs", job.id, "--errors", "--json", *data]).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == wanted
    plain = run.invoke(app, ["jobs", job.id, "--errors", *data]).stdout.splitlines()
    assert len(plain) == 2300
    assert "… and 1,300 more" in run.invoke(app, ["jobs", job.id, *data]).stdout
    document = json.loads(run.invoke(app, ["jobs", job.id, "--json", *data]).stdout)
    assert (len(document["errors"]), document["errors_left_out"], document["failed"]) == (1000, 1300, 2300)


def test_a_cursor_of_another_listing_is_refused(services: Installation, collection: TestClient) -> None:
    job, _ = services.indexer.add("pictures", [Upload(b"", "a")])
    for cursor in ("17", "x1", "i", "i-1", "i" + "9" * 30):
        problem(collection.get(f"/v1/jobs/{job.id}/errors?cursor={cursor}"), 422)
    problem(collection.get("/v1/jobs/nothing/errors"), 404)
    with pytest.raises(NotFoundError):
        services.catalog.job_error_page("nothing")
