"""Health, metrics, logs, the key, other web sites, and what OpenAPI promises."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.processes.logs import json_formatter
from sightline.searching.search import Search
from sightline.store.worker_notes import WorkerNote
from sightline.wiring import Installation
from tests.api.installation import MakeClient, png, problem, upload

SEARCH = "/v1/collections/pictures/search"


def test_ready_tells_model_database_and_generation(filled: TestClient) -> None:
    answer = filled.get("/readyz")
    assert set(answer.json()["checks"]) == {"model", "database", "generation", "files", "indexing"}
    assert answer.json()["checks"]["database"]["ready"] is True
    assert "pictures: 0" in answer.json()["checks"]["generation"]["detail"]
    assert answer.status_code == (200 if answer.json()["status"] == "ready" else 503)


def test_work_that_nobody_does_is_told_and_keeps_no_search_away(
    filled: TestClient, services: Installation
) -> None:
    status = filled.get("/readyz").status_code
    assert filled.get("/readyz").json()["checks"]["indexing"]["ready"] is True
    assert oldest_pending(filled) == 0.0
    upload(filled, {"new": png("red", "blue", "green")})
    assert 0.0 <= oldest_pending(filled) < 60.0
    services.catalog.clock = lambda: time.time() + 301.0
    answer = filled.get("/readyz")
    assert answer.json()["checks"]["indexing"]["ready"] is False
    said = answer.json()["checks"]["indexing"]["detail"]
    assert re.fullmatch(r"Pictures have waited for 30\d seconds, and no worker is running\.", said)
    assert answer.status_code == status
    assert oldest_pending(filled) >= 301.0
    [task] = services.catalog.unsent_tasks(0, 10)
    assert services.catalog.acquire(task, "a worker", 60) is not None
    assert filled.get("/readyz").json()["checks"]["indexing"]["ready"] is True


def oldest_pending(client: TestClient) -> float:
    [value] = re.findall(r"^sightline_oldest_pending_seconds (\S+)$", client.get("/metrics").text, re.M)
    return float(value)


def test_a_lost_database_is_not_ready_but_alive(filled: TestClient, services: Installation) -> None:
    assert "sightline_catalog_up 1.0" in filled.get("/metrics").text
    services.catalog.close()
    services.settings.data_folder.joinpath("catalog.sqlite").write_bytes(b"no database at all " * 300)
    answer = filled.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"]["ready"] is False
    assert filled.get("/livez").status_code == 200
    assert "sightline_catalog_up 0.0" in filled.get("/metrics").text


@pytest.mark.parametrize("harm", ["replaced", "cut"])
def test_a_damaged_catalog_is_one_problem_that_says_what_to_do(
    harm: str, filled: TestClient, services: Installation
) -> None:
    services.catalog.close()
    file = services.settings.data_folder / "catalog.sqlite"
    content = file.read_bytes()
    file.write_bytes(b"no database at all " * 300 if harm == "replaced" else content[: len(content) // 3])
    asked = [
        filled.get("/v1/collections"),
        filled.post(SEARCH, json={"text": "red"}),
        filled.get("/v1/collections/pictures/images"),
        filled.delete("/v1/collections/pictures"),
        filled.get("/v1/jobs"),
    ]
    for answer in asked:
        told = problem(answer, 503)
        assert told["type"].endswith(":catalog-damaged")
        assert "`sightline restore`" in told["detail"]


def test_metrics_have_the_prefix_and_count(filled: TestClient) -> None:
    filled.post(SEARCH, json={"text": "red blue"})
    upload(filled, {"red": png("red"), "none": b""})
    filled.get("/v1/no/such/thing")
    text = filled.get("/metrics").text
    names = {re.split(r"[ {]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert all(name.startswith("sightline_") for name in names)
    assert not any(re.search(r"_(ms|millis|milliseconds|percent|kb|mb)(_|$)", name) for name in names)
    assert 'sightline_images{collection="pictures",state="live"} 6.0' in text
    assert 'sightline_generation{collection="pictures"} 0.0' in text
    assert "sightline_reranked_pairs_total 6.0" in text
    assert 'sightline_search_stage_duration_seconds_count{stage="rerank"} 1.0' in text
    assert 'sightline_uploaded_files_total{outcome="unchanged"} 1.0' in text
    assert 'sightline_uploaded_files_total{outcome="failed"} 1.0' in text
    assert f"sightline_upload_bytes_total {float(len(png('red')))}" in text
    route = "/v1/collections/{name}/search"
    assert f'sightline_http_requests_total{{method="POST",route="{route}",status="200"}} 1.0' in text
    assert 'sightline_http_requests_total{method="any",route="unmatched",status="404"} 1.0' in text


def test_each_app_has_metrics_of_its_own(filled: TestClient, services: Installation) -> None:
    filled.post(SEARCH, json={"text": "red"})
    other = TestClient(create_app(services.api_parts))
    assert "sightline_reranked_pairs_total 0.0" in other.get("/metrics").text


@pytest.fixture
def lines() -> Any:
    """What the root logger writes, as JSON."""
    found: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(self.format(record)))

    handler = Keep()
    handler.setFormatter(json_formatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


def test_log_lines_are_json_with_request_and_job_ids(client: TestClient, lines: list[dict[str, Any]]) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    job = upload(client, {"a": png("red")})["job"]
    client.get(job["url"], headers={"X-Request-ID": "mine"})
    mine = [line for line in lines if line["logger"] == "sightline.http"]
    uploaded, looked = mine[-2:]
    assert (uploaded["method"], uploaded["status"], uploaded["job_id"]) == ("POST", 202, job["id"])
    assert (looked["request_id"], looked["job_id"]) == ("mine", job["id"])
    assert looked["seconds"] >= 0


def test_lines_from_below_carry_the_request_id(services: Installation, lines: list[dict[str, Any]]) -> None:
    class Loud:
        def find(self, request: object, watch: object) -> object:
            logging.getLogger("somewhere.below").warning("Hm.")
            raise ZeroDivisionError

    parts = replace(services.api_parts, search=cast("Search", Loud()))
    client = TestClient(create_app(parts), raise_server_exceptions=False)
    client.post(SEARCH, json={"text": "a"}, headers={"X-Request-ID": "mine"})
    below = [line for line in lines if line["logger"] == "somewhere.below"]
    assert [line["request_id"] for line in below] == ["mine"]
    assert any("ZeroDivisionError" in line.get("traceback", "") for line in lines)


def test_without_the_key_nothing_opens_but_health(make_client: MakeClient) -> None:
    client = make_client(key="öpen sesame")
    assert client.get("/livez").status_code == client.get("/static/sightline.css").status_code == 200
    assert client.get("/readyz").status_code in (200, 503)
    for path in (
        "/v1/collections",
        "/metrics",
        "/openapi.json",
        "/v1/collections/a/images/b/file",
        "/nothing",
    ):
        answer = client.get(path)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    wrong = ("Bearer no", "Basic b3Blbg==", "Bearer", "öpen sesame", "Bearer öpen sesame ".upper())
    for value in wrong:
        problem(client.get("/v1/collections", headers={"Authorization": value.encode()}), 401)
    right = {"Authorization": "Bearer öpen sesame".encode()}
    assert client.get("/v1/collections", headers=right).status_code == 200


def test_the_page_trades_the_key_for_a_cookie_that_does_not_hold_it(make_client: MakeClient) -> None:
    client = make_client(key="sesame")
    locked = client.get("/")
    assert (locked.status_code, 'name="key"' in locked.text) == (401, True)
    assert client.post("/session", data={"key": "wrong"}).status_code == 401
    opened = client.post("/session", data={"key": "sesame"}, follow_redirects=False)
    cookie = opened.headers["set-cookie"]
    assert opened.status_code == 303
    assert "sesame" not in cookie
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert client.get("/v1/collections").status_code == client.get("/").status_code == 200


def test_pictures_behind_a_key_are_cached_privately(make_client: MakeClient) -> None:
    client = make_client(key="sesame")
    client.headers["Authorization"] = "Bearer sesame"
    client.post("/v1/collections", json={"name": "pictures"})
    line = upload(client, {"a": png("red")})["files"][0]
    answer = client.get(f"/v1/collections/pictures/images/{line['id']}/file")
    assert answer.headers["cache-control"] == "private, no-cache"


def test_other_web_sites_read_and_write_only_when_listed(make_client: MakeClient) -> None:
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    good = {"Origin": "https://good.example", "Sec-Fetch-Site": "cross-site"}
    client = make_client(cors_origins=("https://good.example",))
    problem(client.post("/v1/collections", json={"name": "a"}, headers=evil), 403)
    assert "access-control-allow-origin" not in client.get("/v1/collections", headers=evil).headers
    made = client.post("/v1/collections", json={"name": "a"}, headers=good)
    assert (made.status_code, made.headers["access-control-allow-origin"]) == (201, "https://good.example")
    ask = good | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert client.options("/v1/collections", headers=ask).status_code == 200
    closed = make_client()
    assert "access-control-allow-origin" not in closed.get("/v1/collections", headers=good).headers


def test_every_answer_has_the_security_headers(filled: TestClient) -> None:
    for path in ("/", "/v1/collections", "/nothing", "/static/sightline.js"):
        headers = filled.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_openapi_describes_every_route_with_examples_and_problems(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(schema)
    paths = schema["paths"]
    assert set(paths) >= {
        "/v1/collections", "/v1/collections/{name}", "/v1/collections/{name}/images",
        "/v1/collections/{name}/images/{image_id}", "/v1/collections/{name}/images/{image_id}/file",
        "/v1/collections/{name}/images/{image_id}/thumbnail", "/v1/collections/{name}/jobs", "/v1/jobs",
        "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/events", "/v1/jobs/{job_id}/cancel",
        "/v1/jobs/{job_id}/retry",
        "/v1/collections/{name}/search", "/v1/rerank", "/livez", "/readyz", "/metrics",
    }  # fmt: skip
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["description"], path
            for status, answer in operation["responses"].items():
                if status.startswith("4"):
                    assert list(answer["content"]) == ["application/problem+json"], path
    for name in (
        "SearchBody",
        "SearchAnswer",
        "RerankBody",
        "RerankAnswer",
        "NewCollection",
        "NewJob",
        "JobAnswer",
    ):
        assert schema["components"]["schemas"][name]["examples"], name


def test_the_examples_are_accepted(client: TestClient) -> None:
    from sightline.api.schemas.collections import NewCollection
    from sightline.api.schemas.images import ImageAnswer, ImageChange
    from sightline.api.schemas.jobs import JobAnswer, NewJob
    from sightline.api.schemas.rerank import RerankAnswer
    from sightline.api.schemas.search import SearchAnswer
    from sightline.api.schemas.search_body import SearchBody

    for model in (
        NewCollection,
        ImageAnswer,
        ImageChange,
        JobAnswer,
        NewJob,
        RerankAnswer,
        SearchAnswer,
        SearchBody,
    ):
        for example in model.model_json_schema()["examples"]:
            model.model_validate_json(json.dumps(example))


def test_the_documentation_names_every_route(client: TestClient) -> None:
    text = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            assert re.search(rf"{method.upper()}[A-Z/ ]* {re.escape(path)}[` ]", text), f"{method} {path}"


def test_what_workers_waited_for_is_told_by_worker(client: TestClient, services: Installation) -> None:
    assert "sightline_embed_wait_seconds_total{" not in client.get("/metrics").text
    with WorkerNote(services.settings.workers_folder) as note:
        note.write({"embed_wait_seconds": 1.5, "embed_busy_seconds": 4.0})
        text = client.get("/metrics").text
    assert f'sightline_embed_wait_seconds_total{{worker="{note.name}"}} 1.5' in text
    assert f'sightline_embed_busy_seconds_total{{worker="{note.name}"}} 4.0' in text
