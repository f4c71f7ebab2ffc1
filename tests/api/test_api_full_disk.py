"""A full disk over HTTP: a sentence with 507, nothing half acknowledged; what does not need it goes on."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.api.keyring import FRESH_SECONDS
from sightline.imaging import IsolatedDecoder
from sightline.settings import Settings
from sightline.store.issuing import issue
from sightline.wiring import open_installation
from tests.api.installation import png, problem, upload
from tests.small_disk import small_disk

IMAGES = "/v1/collections/pictures/images"


def test_an_upload_that_cannot_be_kept_is_refused_whole_and_taken_when_there_is_room(
    settings: Settings, api_decoder: IsolatedDecoder
) -> None:
    with (
        small_disk(settings.data_folder / "originals", 64) as disk,
        open_installation(settings, send=lambda task_ids: None, decoder=api_decoder) as services,
    ):
        client = TestClient(create_app(services.api_parts), raise_server_exceptions=False)
        client.post("/v1/collections", json={"name": "pictures"})
        upload(client, {"before": png("red")})
        disk.fill()
        files = [("files", (name, png(name))) for name in ("green", "blue")]
        refused = client.post(IMAGES, files=files)
        assert "The disk is full" in problem(refused, 507)["detail"]
        assert problem(refused, 507)["type"].endswith(":no-room")
        assert int(refused.headers["retry-after"]) > 0
        failed, accepted = services.catalog.jobs("pictures", 2)
        assert (failed.state, accepted.state) == ("failed", "running")
        assert failed.detail is not None
        assert "The disk is full" in failed.detail
        assert services.catalog.job_progress(failed.id).total == 0
        disk.free()
        again = upload(client, {"green": png("green"), "blue": png("blue")})
        assert again["job"]["progress"]["pending"] == 2
        services.indexer.run_pending()
        assert {item["id"] for item in client.get(IMAGES).json()["items"]} == {"before", "green", "blue"}


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_an_upload_is_taken_though_the_folder_of_messages_takes_none(
    settings: Settings, api_decoder: IsolatedDecoder, how: str
) -> None:
    with small_disk(settings.data_folder / "messages", 16) as disk:
        changed = settings.model_copy(update={"broker": replace(settings.broker, folder=disk.folder)})
        disk.fill() if how == "full" else disk.protect()
        with open_installation(changed, decoder=api_decoder) as services:
            client = TestClient(create_app(services.api_parts), raise_server_exceptions=False)
            client.post("/v1/collections", json={"name": "pictures"})
            job = upload(client, {"red": png("red")})["job"]
            assert job["progress"]["pending"] == 1
            assert services.catalog.unsent_tasks(1e12, 10)
            services.indexer.run_pending()
            assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "done"


def test_a_key_that_cannot_be_revoked_for_good_is_refused_by_this_process(
    settings: Settings, api_decoder: IsolatedDecoder
) -> None:
    with (
        small_disk(settings.data_folder, 4096) as disk,
        open_installation(settings, send=lambda task_ids: None, decoder=api_decoder) as services,
    ):
        client = TestClient(create_app(services.api_parts), raise_server_exceptions=False)
        boss, other = (
            {"Authorization": f"Bearer {issue(services.catalog, name, 'admin')[1]}"} for name in ("a", "b")
        )
        for headers in (boss, other):
            assert client.get("/v1/collections", headers=headers).status_code == 200
        disk.fill()
        answer = client.delete("/v1/keys/b", headers=boss)
        assert "revoked in this process only" in problem(answer, 507)["detail"]
        problem(client.get("/v1/collections", headers=other), 401)
        time.sleep(FRESH_SECONDS + 0.1)
        problem(client.get("/v1/collections", headers=other), 401)
        assert client.get("/v1/collections", headers=boss).status_code == 200
        assert client.delete("/v1/keys/nobody", headers=boss).status_code == 404
        disk.free()
        assert client.delete("/v1/keys/b", headers=boss).json()["name"] == "b"
        assert [key["name"] for key in client.get("/v1/keys", headers=boss).json()["items"]] == ["a"]
