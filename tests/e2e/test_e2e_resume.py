"""A server-side job whose API process is killed while it lists: the next API process lists the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.processes import SETTINGS, Installation, draw, installation, until
from tests.services import free_port
from tests.sightline.http import finished, request, wait

__all__ = ["installation"]
COUNT = 300


@pytest.mark.long
def test_a_killed_api_process_loses_no_picture_of_a_job_that_it_lists(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture is registered by itself, so that there is time for a kill."""
    port = free_port()
    pictures = tmp_path / "pictures"
    names = draw(pictures, COUNT)
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setitem(os.environ, "SIGHTLINE_API__SOURCE_ROOTS", str(tmp_path))
    monkeypatch.setitem(os.environ, "SIGHTLINE_API__PORT", str(port))
    monkeypatch.setitem(os.environ, "SIGHTLINE_INDEXER__REGISTER_BATCH", "1")
    assert "SIGHTLINE_INDEXER__REGISTER_BATCH" not in SETTINGS
    api = installation.start("serve")
    wait(f"{url}/livez")
    request(f"{url}/v1/collections", {"name": "holiday"})
    job = request(f"{url}/v1/collections/holiday/jobs", {"sources": [str(pictures)]})["id"]
    until("some to be registered", lambda: request(f"{url}/v1/jobs/{job}")["progress"]["total"] >= 3)
    registered = request(f"{url}/v1/jobs/{job}")["progress"]["total"]
    api.kill()
    api.wait(timeout=20)
    assert registered < COUNT, "the machine was too fast for this test"

    for role in ("serve", "worker", "builder"):
        installation.start(role)
    wait(f"{url}/livez")
    done = finished(url, job, 240.0)
    assert (done["progress"]["indexed"], done["progress"]["total"], done["detail"]) == (COUNT, COUNT, None)
    found = installation.run("search", "red", "--collection", "holiday", "-k", "1000")["results"]
    assert sorted(hit["id"] for hit in found) == names
