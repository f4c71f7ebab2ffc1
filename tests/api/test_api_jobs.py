"""Server-side sources stay below their roots; progress streams; jobs can be cancelled and tried again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from sightline.store.catalog import Catalog
from sightline.store.database import make_engine
from sightline.store.records import Job
from sightline.store.work_records import Failure
from sightline.wiring import Installation
from tests.api.installation import SHADES, MakeClient, png, problem, upload

JOBS = "/v1/collections/pictures/jobs"


def ended(client: TestClient, url: str) -> Any:
    """The job once its listing is over."""
    for _ in range(200):
        job = client.get(url).json()
        if job["state"] != "registering":
            return job
        time.sleep(0.05)
    raise AssertionError("still registering")


def events(text: str) -> list[tuple[str, Any]]:
    """(event, data) of a whole stream."""
    found = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A folder to serve with one picture in it, beside a private one."""
    for name in ("open", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(png("red"))
    return tmp_path


def test_nothing_is_read_without_roots(client: TestClient, roots: Path) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    assert (
        "SOURCE_ROOTS" in problem(client.post(JOBS, json={"sources": [str(roots / "open")]}), 403)["detail"]
    )


def test_sources_below_a_root_are_indexed(make_client: MakeClient, roots: Path) -> None:
    client = make_client(source_roots=(str(roots / "open"),))
    client.post("/v1/collections", json={"name": "pictures"})
    answer = client.post(JOBS, json={"sources": [str(roots / "open")], "copy": True})
    assert answer.status_code == 202
    job = ended(client, answer.headers["location"])
    assert (job["state"], job["progress"]["total"], job["kind"]) == ("running", 1, "index")


@pytest.mark.parametrize(
    "source", ["{}/private", "{}/open/../private", "{}", "/", "{}/open-not", "file://{}/private", "s3://bucket/x",
               "https://example.org/a.png", "{}/open/link", "relative/path"]
)  # fmt: skip
def test_sources_elsewhere_are_forbidden(make_client: MakeClient, roots: Path, source: str) -> None:
    (roots / "open" / "link").symlink_to(roots / "private")
    client = make_client(source_roots=(str(roots / "open"),))
    client.post("/v1/collections", json={"name": "pictures"})
    problem(client.post(JOBS, json={"sources": [source.format(roots)]}), 403)
    assert client.get("/v1/jobs").json()["items"] == []


def test_links_and_manifests_do_not_lead_out(make_client: MakeClient, roots: Path) -> None:
    (roots / "open" / "link.png").symlink_to(roots / "private" / "private.png")
    manifest = roots / "open" / "lists" / "list.jsonl"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps({"uri": str(roots / "private" / "private.png"), "id": "stolen"}) + "\n")
    client = make_client(source_roots=(str(roots / "open"),))
    client.post("/v1/collections", json={"name": "pictures"})
    for source in (roots / "open" / "*.png", manifest):
        answer = client.post(JOBS, json={"sources": [str(source)]})
        job = ended(client, answer.headers["location"])
        assert job["errors"], job
        assert {error["reason"] for error in job["errors"]} == {"forbidden"}
    assert client.get("/v1/collections/pictures").json()["pending"] == 1


def test_progress_streams_until_the_job_has_ended(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    job = upload(client, {"a": png("red"), "b": b"no picture"})["job"]
    services.indexer.run_pending()
    answer = client.get(job["events_url"])
    assert answer.headers["content-type"].startswith("text/event-stream")
    (last,) = events(answer.text)
    assert last[0] == "done"
    assert last[1] == client.get(job["url"]).json()
    assert (last[1]["progress"]["indexed"], last[1]["progress"]["failed"]) == (1, 1)


def test_progress_of_nothing_is_404(client: TestClient) -> None:
    problem(client.get("/v1/jobs/none/events"), 404)
    problem(client.get("/v1/jobs/none"), 404)
    problem(client.post("/v1/jobs/none/cancel"), 404)
    problem(client.post("/v1/jobs/none/retry"), 404)


def test_a_cancelled_job_embeds_nothing(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    job = upload(client, {"a": png("red")})["job"]
    assert client.post(f"{job['url']}/cancel").json()["state"] == "cancelled"
    services.indexer.run_pending()
    assert client.get("/v1/collections/pictures").json()["images"] == 0
    assert events(client.get(job["events_url"]).text)[-1][1]["state"] == "cancelled"


def test_failed_images_are_tried_again(client: TestClient, services: Installation, tmp_path: Path) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    job = upload(client, {"a": b"no picture"})["job"]
    services.indexer.run_pending()
    answer = client.post(f"{job['url']}/retry")
    assert answer.status_code == 202
    assert answer.json()["progress"]["pending"] == 1
    services.indexer.run_pending()
    assert client.get(job["url"]).json()["progress"]["failed"] == 1


def test_jobs_are_listed_newest_first_and_by_collection(client: TestClient) -> None:
    for name in ("pictures", "others"):
        client.post("/v1/collections", json={"name": name})
        upload(client, {"a": png("red")}, collection=name)
    assert [job["collection"] for job in client.get("/v1/jobs").json()["items"]] == ["others", "pictures"]
    mine = client.get("/v1/jobs", params={"collection": "pictures"}).json()["items"]
    assert [job["collection"] for job in mine] == ["pictures"]


def test_a_job_prunes_what_its_source_no_longer_has_up_to_a_limit(
    make_client: MakeClient, services: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in SHADES:
        (folder / f"{name}.png").write_bytes(png(*SHADES[name]))
    client = make_client(source_roots=(str(tmp_path),))
    client.post("/v1/collections", json={"name": "pictures"})

    def run(**body: Any) -> Any:
        started = client.post(JOBS, json={"sources": [str(folder)], **body})
        assert started.status_code == 202, started.text
        ended(client, started.json()["url"])
        services.indexer.run_pending()
        job = client.get(started.json()["url"]).json()
        assert job["state"] == "done"
        return job

    assert run()["progress"]["indexed"] == 6
    (folder / "red.png").unlink()
    (folder / "blue.png").unlink()
    job = run(prune=True)
    assert (job["progress"]["deleted"], [line["reason"] for line in job["errors"]]) == (0, ["not-pruned"])
    assert "2 of the 6 pictures" in job["errors"][0]["detail"]
    assert run(prune=True, prune_limit="40%")["progress"]["deleted"] == 2
    (folder / "half.png").unlink()
    assert run(prune=True, prune_limit=1)["progress"]["deleted"] == 1
    folder = folder.rename(tmp_path / "moved")
    assert run(moved_from=str(tmp_path / "photos"))["progress"]["refreshed"] == 3
    assert run(id_prefix="more/")["progress"]["indexed"] == 3
    for wrong in (
        {"prune_limit": "lots"},
        {"prune_limit": -1},
        {"moved_from": "/nowhere"},
        {"id_prefix": "../"},
    ):
        problem(client.post(JOBS, json={"sources": [str(folder)], **wrong}), 422)


def test_what_is_said_of_a_job_is_of_one_instant(client: TestClient, services: Installation) -> None:
    """Its listing ends between two of the statements that read it."""
    client.post("/v1/collections", json={"name": "pictures"})
    catalog = services.catalog
    other = Catalog(make_engine(str(catalog.database.engine.url)))
    for statement in range(8):
        job = catalog.create_job(catalog.collection("pictures").id, "index", {})
        left = [statement]

        def meanwhile(*_: object, job: Job = job, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == -1:
                other.record_failures(job.id, [Failure("a.png", "a.png", "unreadable", "gone")])
                other.seal_job(job.id)

        event.listen(catalog.database.engine, "after_cursor_execute", meanwhile)
        said = client.get(f"/v1/jobs/{job.id}").json()
        event.remove(catalog.database.engine, "after_cursor_execute", meanwhile)
        assert said["progress"]["failed"] == len(said["errors"]) == (said["state"] == "done")
    other.close()
