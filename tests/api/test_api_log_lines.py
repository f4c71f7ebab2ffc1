"""Nobody fills the disk through the log: what a client wrote is cut, and a refusal has no traceback."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.processes.logs import LONGEST, json_formatter
from tests.api.installation import MakeClient, png, problem

MIB = 1 << 20
LONG = "n" * 50_000
MOST = 8_000
"""Bytes that one refused request may leave in the log, its own line included."""
SEARCH = "/v1/collections/pictures/search"
REFUSED: dict[str, tuple[str, str, Any, int]] = {
    "a document": ("POST", "/v1/rerank", {"query": "a", "documents": [
        {"id": "x" * 4 * MIB, "collection": "pictures"}]}, 422),
    "an unprintable document": ("POST", "/v1/rerank", {"query": "a", "documents": [
        {"id": "\U0001f600" * 511, "collection": "pictures"}]}, 404),
    "a URL": ("POST", "/v1/rerank", {"query": "a", "documents": [
        {"image": "https://" + "x" * 4 * MIB}]}, 422),
    "a field": ("POST", SEARCH, {"text": "a", "filter": {"field": "x" * 900_000, "equals": 1}}, 422),
    "a field of uri": ("POST", SEARCH, {"text": "a", "filter": {"field": "x" * 900_000, "contains": 1}}, 422),
    "ids": ("POST", "/v1/collections/pictures/trash/restore", {"ids": ["x" * 900_000]}, 422),
    "a collection": ("GET", f"/v1/collections/{LONG}", None, 404),
    "a collection's images": ("GET", f"/v1/collections/{LONG}/images", None, 404),
    "an image": ("GET", f"/v1/collections/pictures/images/{LONG}", None, 404),
    "an image's file": ("GET", f"/v1/collections/pictures/images/{LONG}/file", None, 404),
    "an image to delete": ("DELETE", f"/v1/collections/pictures/images/{LONG}", None, 404),
    "a cursor": ("GET", f"/v1/collections/pictures/images?cursor={LONG}", None, 422),
    "a job": ("GET", f"/v1/jobs/{LONG}", None, 404),
    "a job's events": ("GET", f"/v1/jobs/{LONG}/events", None, 404),
    "a job to cancel": ("POST", f"/v1/jobs/{LONG}/cancel", None, 404),
    "jobs of a collection": ("GET", f"/v1/jobs?collection={LONG}", None, 422),
    "a key": ("DELETE", f"/v1/keys/{LONG}", None, 404),
    "a deleted collection": ("POST", f"/v1/trash/{LONG}/restore", None, 404),
    "ids in the trash": ("DELETE", f"/v1/collections/pictures/trash?id={LONG}", None, 422),
    "the page's cursor": ("GET", f"/?collection=pictures&cursor={LONG}", None, 422),
    "the page's collection": ("GET", f"/?collection={LONG}", None, 404),
    "the page's filter": ("GET", f'/?collection=pictures&filter={{"field":"{LONG}"}}', None, 422),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_leaves_little_in_the_log_and_no_traceback(
    library: TestClient, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    method, path, body, status = REFUSED[what]
    with caplog.at_level(logging.DEBUG, "sightline"):
        answer = library.request(method, path, json=body)
    assert answer.status_code == status
    records = [record for record in caplog.records if record.name.startswith("sightline")]
    assert records  # the request's own line
    lines = [json_formatter().format(record) for record in records]
    assert sum(len(line.encode()) for line in lines) < MOST
    assert [record for record in records if record.exc_info or record.levelno >= logging.ERROR] == []


def test_a_full_room_is_one_short_line(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(max_followers=0)
    client.post("/v1/collections", json={"name": "pictures"})
    uploaded = client.post("/v1/collections/pictures/images", files=[("files", ("a", png("red")))])
    with caplog.at_level(logging.WARNING, "sightline"):
        problem(client.get(f"/v1/jobs/{uploaded.json()['job']['id']}/events"), 503)
    [record] = [record for record in caplog.records if record.name == "sightline.http"]
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert len(record.getMessage()) < 200


def test_what_nobody_expected_is_told_in_a_line_of_bounded_length() -> None:
    try:
        raise ValueError("x" * MIB)
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "a.py", 1, "y" * MIB, (), sys.exc_info())
    record.__dict__["path"] = "z" * MIB
    line = json.loads(json_formatter().format(record))
    assert len(json.dumps(line)) < 4 * LONGEST
    assert line["traceback"].startswith("Traceback (most recent call last)")
    assert (line["message"][0], line["path"][-1]) == ("y", "z")
