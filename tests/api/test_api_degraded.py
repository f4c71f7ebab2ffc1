"""A collection of which a file is lost or damaged is answered without it, and everybody is told."""

from __future__ import annotations

from fastapi.testclient import TestClient

from sightline.wiring import Installation
from tests.api.installation import SHADES, png, upload

SEARCH = "/v1/collections/pictures/search"
SAID = "2 images could not be searched, because a segment file is missing or damaged."


def lose_one_segment(client: TestClient, services: Installation) -> None:
    """Two more pictures, whose segment is removed."""
    before = {path.name for path in services.settings.segments_folder.iterdir()}
    upload(client, {"late": png("red"), "later": png("red", "white")})
    services.indexer.run_pending()
    (path,) = [one for one in services.settings.segments_folder.iterdir() if one.name not in before]
    path.unlink()


def test_a_lost_segment_costs_its_own_pictures_and_the_answer_says_so(
    filled: TestClient, services: Installation
) -> None:
    whole = filled.post(SEARCH, json={"text": "red blue"}).json()
    assert whole["degraded"] == []
    lose_one_segment(filled, services)
    answer = filled.post(SEARCH, json={"text": "red blue"})
    assert answer.status_code == 200
    assert answer.json()["degraded"] == [SAID]
    assert answer.json()["results"] == whole["results"]
    assert len(whole["results"]) == len(SHADES)


def test_readiness_and_metrics_tell_it_before_anybody_searched(
    filled: TestClient, services: Installation
) -> None:
    assert filled.get("/readyz").json()["checks"]["files"] == {"ready": True, "detail": "complete"}
    assert "sightline_degraded_collections 0.0" in filled.get("/metrics").text
    lose_one_segment(filled, services)
    assert filled.get("/readyz").json()["checks"]["files"] == {
        "ready": True,
        "detail": f"degraded: pictures: {SAID}",
    }
    assert "sightline_degraded_collections 1.0" in filled.get("/metrics").text


def test_damage_that_only_a_search_can_see_is_told_from_then_on(
    filled: TestClient, services: Installation
) -> None:
    (path,) = services.settings.segments_folder.glob("*.safetensors")
    head = services.segments.head(path.name)
    data = bytearray(path.read_bytes())
    data[head.layout.starts["tokens"]] ^= 1
    path.write_bytes(data)
    answer = filled.post(SEARCH, json={"text": "red blue"}).json()
    (said,) = answer["degraded"]
    assert said.startswith("1 image could not be searched")
    assert said in filled.get("/readyz").json()["checks"]["files"]["detail"]
    assert "sightline_degraded_collections 1.0" in filled.get("/metrics").text


def test_the_page_says_it(filled: TestClient, services: Installation) -> None:
    lose_one_segment(filled, services)
    shown = filled.get("/", params={"q": "red blue", "collection": "pictures"}).text
    assert SAID.rstrip(".") in shown
