"""The JSON of every route, field by field: what clients were written against."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from math import exp, sqrt
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from sightline.wiring import Installation
from tests.api.installation import SHADES, MakeClient, png, problem, upload

COLLECTION = "/v1/collections/pictures"
COUNTS = dict.fromkeys(
    (
        "indexed",
        "unchanged",
        "replaced",
        "deleted",
        "failed",
        "pending",
        "refreshed",
        "duplicates",
        "processed",
    ),
    0,
)


class Lately:
    """Equals every moment of the last ten minutes as answers write it: RFC 3339, in UTC."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str) or not other.endswith("Z"):
            return False
        age = datetime.now(UTC) - datetime.fromisoformat(other)
        return timedelta() <= age < timedelta(minutes=10)

    def __hash__(self) -> int:
        return 0


class Milliseconds:
    """Equals every number of milliseconds with at most three decimals."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and 0 <= other < 600_000 and round(other, 3) == other

    def __hash__(self) -> int:
        return 0


LATELY, MILLISECONDS = Lately(), Milliseconds()
# "green" against a green picture, by the formulas of the toy: all of it agrees (a = 1), its mean is (0, 1, 0)
# (w = 1/3), so the logits are (2/3, 4); three channels of 3 + 2 · (1/4)² agree, in fp16.
GREEN_PROBABILITY = pytest.approx(1 / (1 + exp(2 / 3 - 4)))
GREEN_ITC = pytest.approx(sqrt(3 / 3.125), abs=1e-3)


def sha256(name: str) -> str:
    """The digest of one of SHADES."""
    return hashlib.sha256(png(*SHADES[name])).hexdigest()


def addresses(name: str, digest: str) -> dict[str, str]:
    """Where the bytes of an image are."""
    base = f"{COLLECTION}/images/{quote(name, safe='')}"
    return {
        name: f"{base}/{name.removesuffix('_url')}?v={digest[:16]}" for name in ("file_url", "thumbnail_url")
    }


def image(name: str) -> dict[str, Any]:
    """The record of one of SHADES, as GET answers it."""
    digest = sha256(name)
    return {
        "id": name, "collection": "pictures", "state": "live", "sha256": digest,
        "uri": f"blob:{digest}", "caption": f"all {name}",
        "metadata": {"length": len(name)}, "width": 8, "height": 8, "bytes": len(png(*SHADES[name])),
        **addresses(name, digest), "created_at": LATELY, "published_at": LATELY,
    }  # fmt: skip


def job(job_id: str, errors: list[Any] = [], **changes: Any) -> dict[str, Any]:  # noqa: B006 - not changed
    """A job as GET answers it: ``changes`` are its counts, kind and state."""
    counts = COUNTS | {name: changes.pop(name) for name in set(changes) & {*COUNTS, "total"}}
    return {
        "id": job_id, "collection": "pictures", "kind": "upload", "state": "running", "detail": None,
        "progress": counts, "skipped": {}, "known_broken": 0,
        "errors": errors, "url": f"/v1/jobs/{job_id}", "events_url": f"/v1/jobs/{job_id}/events",
        "errors_url": f"/v1/jobs/{job_id}/errors",
        "created_at": LATELY, "updated_at": LATELY,
    } | changes  # fmt: skip


def test_collections(filled: TestClient, services: Installation) -> None:
    stored = services.catalog.collection("pictures")
    expected = {
        "name": "pictures", "model": "toy", "revision": None, "fingerprint": stored.fingerprint,
        "images": 6, "pending": 0, "failed": 0, "trashed": 0, "index": None, "segments": 1,
        "bytes": services.catalog.collection_counts("pictures")["bytes"], "created_at": LATELY,
    }  # fmt: skip
    assert filled.get(COLLECTION).json() == expected
    assert filled.get("/v1/collections").json() == {"items": [expected]}
    empty = expected | {"name": "other", "images": 0, "segments": 0, "bytes": 0}
    assert filled.post("/v1/collections", json={"name": "other"}).json() == empty


def test_images(filled: TestClient) -> None:
    page = filled.get(f"{COLLECTION}/images", params={"limit": 1}).json()
    assert page == {"items": [image("red")], "next_cursor": page["next_cursor"]}
    assert isinstance(page["next_cursor"], str)
    rest = filled.get(f"{COLLECTION}/images", params={"cursor": page["next_cursor"]}).json()
    names = [name for name in SHADES if name != "red"]
    assert rest == {"items": [image(name) for name in names], "next_cursor": None}
    assert filled.get(f"{COLLECTION}/images/half").json() == image("half")
    change = {"caption": None, "metadata": {"a": [1, {"b": 2.5}]}}
    assert filled.patch(f"{COLLECTION}/images/half", json=change).json() == image("half") | change


def test_an_upload_and_what_becomes_of_its_job(filled: TestClient, services: Installation) -> None:
    body = upload(filled, {"a/b": png("green"), "red": png("red"), "none": b""})
    job_id = body["job"]["id"]
    line = {"reason": None, "detail": None}
    why = {"reason": "empty", "detail": "The file has no bytes."}
    no_bytes = {"id": "none#2"} | why
    assert body == {
        "job": job(job_id, [no_bytes], unchanged=1, failed=1, pending=1, total=3),
        "files": [
            {"index": 0, "filename": "a/b", "id": "a/b", "status": "pending"} | line,
            {"index": 1, "filename": "red", "id": "red", "status": "unchanged"} | line,
            {"index": 2, "filename": "none", "id": "none", "status": "failed"} | why,
        ],
    }
    queued = {"id": "a/b", "state": "pending", "caption": None, "metadata": {}, "published_at": None}
    queued |= addresses("a/b", sha256("green")) | {"width": None, "height": None}
    assert filled.get(f"{COLLECTION}/images/a%2Fb").json() == image("green") | queued
    services.indexer.run_pending()
    done = job(job_id, [no_bytes], indexed=1, unchanged=1, failed=1, total=3, state="done")
    assert filled.get(f"/v1/jobs/{job_id}").json() == done
    listed = filled.get("/v1/jobs", params={"limit": 1}).json()
    assert listed == {"items": [done | {"errors": []}]}
    events = filled.get(f"/v1/jobs/{job_id}/events").text.replace("\r\n", "\n").strip()
    name, data = events.split("\n")
    assert (name, json.loads(data.removeprefix("data: "))) == ("event: done", done)


def test_server_side_jobs_are_cancelled_and_tried_again(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("red"))
    client = make_client(source_roots=(str(tmp_path),))
    client.post("/v1/collections", json={"name": "pictures"})
    begun = client.post(f"{COLLECTION}/jobs", json={"sources": [str(tmp_path / "a.png")]}).json()
    assert begun == job(begun["id"], kind="index", state="registering", total=0)
    cancelled = client.post(f"{begun['url']}/cancel").json()
    assert cancelled == job(begun["id"], kind="index", state="cancelled", total=0)
    bad = upload(client, {"bad": b"no picture"})["job"]
    assert client.post(f"{bad['url']}/retry").json() == job(bad["id"], pending=1, total=1)


@pytest.mark.parametrize(
    ("body", "judged"), [({}, True), ({"rerank": False}, False)], ids=["with ITM", "without ITM"]
)
def test_a_search(library: TestClient, body: dict[str, Any], judged: bool) -> None:
    answer = library.post(f"{COLLECTION}/search", json={"text": "green", "limit": 1} | body).json()
    for one in answer.pop("reached"):
        assert one == {"layers": one["of"], "of": one["of"], "candidates": 6}, (
            "a full search goes all the way"
        )
    numbers = {
        "itm_logit": 4.0,
        "match_probability": GREEN_PROBABILITY,
        "match_probability_raw": GREEN_PROBABILITY,
    }
    words: dict[str, Any] = {"found_by": "both", "matched_text": "all green", "instruction_probability": None}
    words |= {"clauses": [], "similarity": None, "explanation": None, "duplicates": None}
    if not judged:
        numbers = {"itm_logit": None, "match_probability": None, "match_probability_raw": None}
        words |= {"found_by": "picture", "matched_text": None}
    assert answer == {
        "results": [
            {
                "id": "green", "key": 5, "sha256": sha256("green"),
                "uri": f"blob:{sha256('green')}", "rank": 1, "itc_rank": 1, "itc": GREEN_ITC,
                "score": pytest.approx(sqrt(3 / 3.125) + 4 * judged, abs=1e-3), **numbers,
                "caption": "all green", "metadata": {"length": 5}, "width": 8, "height": 8,
                **addresses("green", sha256("green")), **words,
            }
        ],
        "truncated": False, "generation": 0, "images": 6, "scored": 6 if judged else 0, "degraded": [],
        "effort": "full", "approximate": False, "recall": None, "unknown_words": [], "notes": [],
        "total": None, "total_is": None, "next_cursor": None,
        "timings": dict.fromkeys(("encode_ms", "retrieve_ms", "rerank_ms", "total_ms"), MILLISECONDS),
    }  # fmt: skip


def test_a_rerank(library: TestClient) -> None:
    stored = {"id": "green", "collection": "pictures"}
    uri = f"data:image/png;base64,{base64.b64encode(png('green')).decode()}"
    body = {"query": "green", "documents": [{"image": uri}, stored], "return_documents": True}
    answer = library.post("/v1/rerank", json=body, headers={"X-Request-ID": "mine"}).json()
    good = {
        "relevance_score": GREEN_PROBABILITY,
        "itm_logit": 4.0,
        "match_probability_raw": GREEN_PROBABILITY,
    }
    assert answer == {
        "id": "mine", "model": "toy", "truncated": False, "degraded": [], "unknown_words": [], "notes": [],
        "results": [{"index": 0, "document": {"image": uri}} | good, {"index": 1, "document": stored} | good],
        "usage": {"prompt_tokens": 0, "total_tokens": 0}, "meta": {"warnings": []},
    }  # fmt: skip


def test_health_and_problems(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert set(ready) == {"status", "checks"}
    assert ready["checks"]["database"] == {"ready": True, "detail": "0 collections"}
    assert ready["checks"]["generation"] == {"ready": True, "detail": "no collections yet"}
    answer = client.post(
        "/v1/collections/nowhere/search", json={"text": "a"}, headers={"X-Request-ID": "mine"}
    )
    assert problem(answer, 404) == {
        "type": "urn:sightline:problem:not-found", "title": "Not Found", "status": 404,
        "detail": "There is no collection 'nowhere'.", "instance": "/v1/collections/nowhere/search",
        "request_id": "mine",
    }  # fmt: skip
    wrong = problem(client.post("/v1/collections/nowhere/search", json={"text": "a", "limit": 0}), 422)
    assert wrong["errors"] == [
        {"pointer": "#/limit", "detail": "Input should be greater than or equal to 1."}
    ]
