"""Answers that a connection gives by itself are counted, and no browser guesses what they are."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from sightline.api.crowd import RESERVE
from sightline.api.server import running
from tests.api.installation import MakeClient

BOUND = 30
WRONG = {
    400: b"GET /livez\r\n\r\n",
    408: b"GET /livez HTTP/1.1\r\nHost: loc",
    431: b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
}


def app_of(make_client: MakeClient, **changes: object) -> FastAPI:
    client: TestClient = make_client(**changes)
    assert isinstance(client.app, FastAPI)
    return client.app


def counted(app: FastAPI, status: int) -> float:
    registry: CollectorRegistry = app.state.metrics.registry
    found = registry.get_sample_value("sightline_connections_refused_total", {"status": str(status)})
    return found or 0.0


@pytest.mark.parametrize("status", WRONG)
def test_what_never_reached_the_application_is_counted(make_client: MakeClient, status: int) -> None:
    app = app_of(make_client, header_seconds=0.5, max_header_bytes=16 << 10)
    with running(app) as url:
        place = urlsplit(url)
        for before in range(2):
            assert counted(app, status) == before
            with socket.create_connection((place.hostname, place.port), BOUND) as sock:
                sock.sendall(WRONG[status])
                answer = b"".join(iter(lambda: sock.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nx-content-type-options: nosniff\r\n" in answer.lower()
        assert counted(app, status) == 2


def test_a_full_server_counts_whom_it_turns_away(make_client: MakeClient) -> None:
    app = app_of(make_client, max_connections=1, max_connections_per_address=99)
    with running(app) as url, ExitStack() as stack:
        with httpx.Client(base_url=url, timeout=BOUND) as client:
            client.post("/v1/collections", json={"name": "pictures"})
            job = client.post("/v1/collections/pictures/images", files=[("files", ("a", b"no picture"))])
        events = url + job.json()["job"]["events_url"]
        assert stack.enter_context(httpx.stream("GET", events, timeout=BOUND)).status_code == 200
        answers = [httpx.get(f"{url}/v1/collections", timeout=BOUND) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
        assert counted(app, 503) == len(answers) < RESERVE
