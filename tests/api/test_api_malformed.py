"""Malformed requests over raw sockets: no server error, and the server's memory stays what it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.hostile_bodies import ATTACKS, MB, ask, cost, toy_server
from benchmarks.http_client import Server
from tests.api.malformed import attack

ROOM_MB = 48
"""What allocators and caches may take; the bodies of 15,000 requests would be several times that."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``sightline serve`` of the toy, warmed up."""
    with toy_server(tmp_path_factory.mktemp("malformed")) as server:
        for one in ATTACKS.values():
            ask(server.port, type(one)(one.path, lambda: b"{}", one.media))
        yield server


@pytest.mark.parametrize(
    "name",
    ["documents, 2 MB of zeros", "unknown fields, 1 MB", "ids, 1 MB of zeros", "items, 1 MB of zeros",
     "filter, 1 MB of conditions", "filter, 10 MB of conditions", "documents, 60 MB of []"],
)  # fmt: skip
def test_a_hostile_body_takes_no_more_memory_than_some_copies_of_it(server: Server, name: str) -> None:
    size = len(ATTACKS[name].body()) / MB
    measured = cost(server, ATTACKS[name])
    assert measured.status in (413, 422), measured
    assert measured.peak_mb < 16 + max(2.5 * size, 16), measured


def test_no_malformed_request_makes_a_server_error(server: Server) -> None:
    heard, held = attack(server.port, server.pid, 1000, seed=0)
    assert not heard.errors, heard.errors[:3]
    assert heard.statuses.total() >= 1000
    assert heard.statuses.keys() >= {0, 200, 400, 404, 405}, heard.statuses
    assert held[-1] < held[0] + ROOM_MB, held


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_memory_of_a_server_is_flat_over_thousands_of_malformed_requests(server: Server) -> None:
    heard, held = attack(server.port, server.pid, 20_000, seed=1)
    assert not heard.errors, heard.errors[:3]
    assert heard.statuses.total() >= 20_000
    assert held[-1] < held[0] + ROOM_MB, held
