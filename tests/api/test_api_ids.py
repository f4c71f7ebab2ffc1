"""Ids in addresses: what is accepted survives every client, and what would not is refused at every door."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from sightline.wiring import Installation
from tests.api.installation import png, problem

IMAGES = "/v1/collections/pictures/images"


def test_no_id_that_was_accepted_leads_to_its_collection(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    files = [("files", ("a.png", png("red")))]
    for image_id in ("..", ".", "a/../..", "%2e%2e"):
        client.post(IMAGES, files=files, data={"items": json.dumps([{"id": image_id}])})
        services.indexer.run_pending()
        for image in client.get(IMAGES).json()["items"]:
            client.delete(f"{IMAGES}/{quote(image['id'], safe='')}")
    assert [one["name"] for one in client.get("/v1/collections").json()["items"]] == ["pictures"]
    assert client.get(IMAGES).json()["items"] == []
