"""Slow and hostile clients on real sockets: each is let go, and honest requests are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sightline.api.app import create_app
from sightline.api.crowd import DRAWN, RESERVE, Connections
from sightline.api.pace import Pace
from sightline.api.server import running
from sightline.api.settings import ApiSettings
from sightline.imaging import IsolatedDecoder
from tests.api.conftest import installation, settings_for
from tests.api.installation import problem
from tests.children import kill, read_line

BOUND = 30
HALF = 1100
ROOM = 100
SEARCH = "/v1/collections/pictures/search"
HEADER = (
    b"POST /v1/collections/pictures/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)
QUICK: dict[str, Any] = {
    "header_seconds": 0.5,
    "body_seconds": 1.0,
    "write_seconds": 1.0,
    "max_header_bytes": 16 << 10,
}
Serve = Callable[..., str]


@pytest.fixture(scope="module")
def serve(
    filled_folder: Path, api_decoder: IsolatedDecoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """URLs of servers of a filled installation, one for each set of settings: ``serve(idle_seconds=9)``."""
    folder = tmp_path_factory.mktemp("connections") / "data"  # uploads come to it
    shutil.copytree(filled_folder, folder)
    with ExitStack() as stack:
        urls: dict[str, str] = {}

        def start(**changes: Any) -> str:
            key = json.dumps(changes)
            if key not in urls:
                settings = settings_for(folder)
                changed = settings.model_copy(update={"api": replace(settings.api, **changes)})
                services = installation(changed, api_decoder)
                stack.callback(services.catalog.close)
                urls[key] = stack.enter_context(running(create_app(services.api_parts)))
            return urls[key]

        yield start


@contextmanager
def connected(url: str, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with socket.socket() as client:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(BOUND)
        client.connect((address.hostname, address.port))
        yield client


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    deadline = time.monotonic() + BOUND
    while True:
        assert time.monotonic() < deadline
        try:
            part = client.recv(1 << 16)
        except ConnectionResetError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def exchange(url: str, sent: bytes) -> bytes:
    with connected(url) as client:
        client.sendall(sent)
        return read_all(client)


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


def told(answer: bytes, status: int) -> dict[str, Any]:
    """The problem document of one raw answer, with the connection closed behind it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"application/problem+json" in head
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == status
    assert document["detail"].endswith(".")
    assert b"x-request-id: " + document["request_id"].encode() in head
    return document


def search(url: str) -> int:
    return httpx.post(f"{url}{SEARCH}", json={"text": "red"}, timeout=BOUND).status_code


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for the clients of the test, all in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= HALF + 500, "the test needs 1,600 open files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HALF + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_many_half_sent_requests_lock_nobody_out(serve: Serve) -> None:
    """Of one address, which may have all the room there is; none of them is over before the test is."""
    url = serve(max_connections=ROOM, max_connections_per_address=ROOM, header_seconds=1000.0)
    with ExitStack() as stack:
        for _ in range(HALF):
            stack.enter_context(connected(url)).sendall(HEADER)
        assert search(url) == 200
        assert httpx.get(f"{url}/readyz", timeout=BOUND).status_code == 200
        body = b'Content-Length: 40\r\n\r\n{"text": '
        for _ in range(ROOM):
            stack.enter_context(connected(url)).sendall(HEADER + body)
        assert search(url) == 200


class Counted:
    """A connection of which is counted how often it is looked at."""

    looks = 0

    def __init__(self, number: int, phase: str) -> None:
        self.address, self.since, self._phase = f"10.0.0.{number % 9}", float(number), phase
        self.is_reset = self.is_checked = False

    def phase(self) -> str:
        Counted.looks += 1
        return self._phase

    def look(self, now: float) -> None:
        pass

    def reset(self) -> None:
        self.is_reset = True

    def answers_only_checks(self) -> None:
        self.is_checked = True


def test_a_full_server_looks_at_few_connections_for_each_that_comes() -> None:
    """However many there are, or a stranger who fills it could keep it busy with choosing."""

    async def scenario() -> None:
        moment = 0.0
        crowd = Connections(ApiSettings(max_connections=2000), clock=lambda: moment)
        there = [Counted(number, "header") for number in range(2000)]
        for one in there:
            crowd.admit(one)
        Counted.looks = 0
        for number in range(100):
            crowd.admit(Counted(number, "header"))
        assert Counted.looks <= 100 * 2 * DRAWN
        assert sum(one.is_reset for one in there) > 50

    async def nobody_waits_but_one() -> None:
        moment = 0.0
        crowd = Connections(ApiSettings(max_connections=2000), clock=lambda: moment)
        slow = Counted(0, "idle")
        for one in (slow, *(Counted(number, "working") for number in range(1999))):
            crowd.admit(one)
        crowd.admit(Counted(0, "working"))
        assert slow.is_reset, "it is found, if not among those drawn"
        Counted.looks = 0
        for _ in range(50):
            crowd.admit(late := Counted(0, "working"))
            assert late.is_checked or late.is_reset
        assert Counted.looks <= 50 * 2 * DRAWN + 2000

    asyncio.run(scenario())
    asyncio.run(nobody_waits_but_one())


def test_one_address_whose_connections_all_work_has_no_more_than_its_share() -> None:
    """Also of those that answer only checks: they are connections too."""

    async def scenario() -> None:
        crowd = Connections(ApiSettings(max_connections=200, max_connections_per_address=20))
        greedy = [Counted(0, "working") for _ in range(150)]
        for one in greedy:
            crowd.admit(one)
        assert sum(one.is_checked for one in greedy) == RESERVE
        assert sum(one.is_reset for one in greedy) == 150 - 20 - RESERVE
        others = [Counted(number, "working") for number in range(1, 9) for _ in range(20)]
        for one in others:
            crowd.admit(one)
        assert not any(one.is_checked or one.is_reset for one in others)
        mine = Counted(1, "header")
        for one in (mine, Counted(0, "working")):
            crowd.admit(one)
        assert not mine.is_reset, "who is beyond a share takes nobody else's place"

    asyncio.run(scenario())


def test_one_address_leaves_room_for_others(serve: Serve) -> None:
    url = serve(max_connections=40, max_connections_per_address=4, header_seconds=1000.0)
    with ExitStack() as stack:
        first = [stack.enter_context(connected(url)) for _ in range(4)]
        for client in first:
            client.sendall(HEADER)
        assert search(url) == 200
        assert read_all(first[0]) == b""  # the oldest made room


def trickle(url: str, head: bytes, piece: bytes) -> bytes:
    """What comes back while pieces are sent without end, and honest requests beside them are answered."""
    with connected(url) as client:
        client.sendall(head)
        client.settimeout(0.05)
        got = b""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            try:
                client.sendall(piece)
                part = client.recv(1 << 16)
            except TimeoutError:
                assert httpx.get(f"{url}/livez", timeout=BOUND).status_code == 200
                continue
            except OSError:
                return got
            if not part:
                return got
            got += part
    raise AssertionError("the connection was never closed")


def test_a_header_that_trickles_in_is_not_waited_for(serve: Serve) -> None:
    url = serve(**QUICK)
    assert "header" in told(trickle(url, HEADER + b"X-Long: ", b"a"), 408)["detail"]
    assert search(url) == 200


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_a_body_that_trickles_in_is_not_waited_for(serve: Serve, framing: bytes) -> None:
    url = serve(**QUICK)
    piece = b" " if framing.startswith(b"Content") else b"1\r\n \r\n"
    assert "body" in told(trickle(url, HEADER + framing + b"\r\n\r\n", piece), 408)["detail"]
    assert search(url) == 200


def test_silence_ends_too(serve: Serve) -> None:
    url = serve(**QUICK)
    assert exchange(url, b"") == b""
    assert told(exchange(url, HEADER), 408)
    assert told(exchange(url, HEADER + b"Content-Length: 9\r\n\r\n{"), 408)["instance"] == SEARCH


def test_a_body_that_gets_on_is_waited_for(serve: Serve) -> None:
    """Several windows long, just slow."""
    url = serve(header_seconds=0.2, body_seconds=0.6, least_rate=10)
    body = json.dumps({"text": "red"}).encode()
    with connected(url) as client:
        client.sendall(HEADER + b"Content-Length: %d\r\n\r\n" % (len(body) + 60))
        for _ in range(20):
            time.sleep(0.1)
            client.sendall(b"   ")
        client.sendall(body)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_body_that_gets_on_is_not_waited_for_without_end(serve: Serve) -> None:
    """As slow as it may be and never done, eight of them had all places for uploads."""
    url = serve(body_seconds=0.5, least_rate=1, upload_seconds=2.0)
    answer = trickle(url, HEADER + b"Content-Length: 1000000\r\n\r\n", b" ")
    assert "2 seconds" in told(answer, 408)["detail"]
    assert search(url) == 200


def test_an_answer_that_nobody_reads_is_given_up(serve: Serve) -> None:
    url = serve(**QUICK)
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    size = len(httpx.get(f"{url}/openapi.json", timeout=BOUND).content)
    with connected(url, receive_buffer=4096) as client:
        count = (32 << 20) // size  # more than the system keeps for anybody
        client.sendall(asked * count)
        until_aborted(client, url)
    assert search(url) == 200


def until_aborted(client: socket.socket, url: str) -> None:
    """Until the peer has reset the connection, without reading a byte."""
    deadline = time.monotonic() + BOUND
    while not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        assert time.monotonic() < deadline, "the connection was kept"
        assert httpx.get(f"{url}/livez", timeout=BOUND).status_code == 200
        time.sleep(0.05)


def test_when_all_connections_work_only_checks_are_answered(serve: Serve) -> None:
    url = serve(max_connections=3, max_connections_per_address=99)
    body = json.dumps({"text": "red"}).encode()
    with ExitStack() as stack:
        with httpx.Client(base_url=url, timeout=BOUND) as client:
            job = client.post("/v1/collections/pictures/images", files=[("files", ("a", b"no picture"))])
            events = job.json()["job"]["events_url"]
        followers = [stack.enter_context(httpx.stream("GET", url + events, timeout=BOUND)) for _ in range(3)]
        assert {answer.status_code for answer in followers} == {200}
        refused = httpx.post(f"{url}{SEARCH}", content=body, timeout=BOUND)
        assert "connections" in problem(refused, 503)["detail"]
        assert int(refused.headers["retry-after"]) > 0
        held = [stack.enter_context(connected(url)) for _ in range(RESERVE + 5)]
        assert len(held) > RESERVE
        assert httpx.get(f"{url}/livez", timeout=BOUND).status_code == 200
    deadline = time.monotonic() + BOUND
    while search(url) != 200:
        assert time.monotonic() < deadline


# --- requests that readers may understand differently -------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Content-Length: 3", b"Transfer-Encoding: chunked"], 400),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 3"], 400),
        ([b"Content-Length: 3", b"Content-Length: 4"], 400),
        ([b"Content-Length: 3, 4"], 400),
        ([b"Content-Length: -3"], 400),
        ([b"Content-Length: 3 "], 408),  # a space behind a value is no part of it: the body is awaited
        ([b"Content-Length : 3"], 400),
        ([b"Transfer-Encoding: gzip, chunked"], 400),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], 400),
        ([b"Transfer-Encoding: \x0bchunked"], 400),
        ([b"Host: localhost"], 400),
        ([b"X: a", b" folded"], 408),
        ([b"X: \0"], 400),
        ([b"X: " + b"a" * (16 << 10)], 431),
        ([b"X-%d: a" % number for number in range(2000)], 431),
        ([b"X: " + b"a" * (1 << 20)], 431),
    ],
    ids=lambda value: value[0][:40].decode("latin-1") if isinstance(value, list) else str(value),
)
def test_ambiguous_and_oversized_headers_are_refused(serve: Serve, lines: list[bytes], status: int) -> None:
    url = serve(**QUICK)
    if status == 408 and lines[0].startswith(b"X"):
        lines = [*lines, b"Content-Length: 3"]
    told(exchange(url, HEADER + b"".join(line + b"\r\n" for line in lines) + b"\r\n"), status)
    assert search(url) == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/livez", "localhost", 200),
        ("HTTP://LOCALHOST.:80/livez", "localhost", 200),
        ("http://localhost:8000/v1/collections/pictures?x=1", "localhost:8000", 200),
        ("https://localhost:443/livez", "localhost", 200),
        ("http://[::1]:8000/livez", "[::1]:8000", 200),
        ("http://localhost", "localhost", 200),
        ("http://localhost?after=x", "localhost", 200),
        ("http://localhost/v1/collections/nowhere", "localhost", 404),
        ("http://localhost:81/livez", "localhost", 400),
        ("http://127.0.0.1/livez", "localhost", 400),
        ("http://example.org/livez", "localhost", 400),
        ("http://localhost@example.org/livez", "localhost", 400),
        ("http:///livez", "localhost", 400),
        ("http://example.org/v1/collections", "example.org", 421),
        ("ftp://localhost/livez", "localhost", 400),
        ("livez", "localhost", 400),
    ],
)
def test_a_target_with_scheme_and_host_is_taken_when_it_names_the_host(
    serve: Serve, target: str, host: str, status: int
) -> None:
    """RFC 9112, 3.2.2."""
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert statuses(exchange(serve(), request.encode())) == [status]


def test_http_1_0_has_no_chunks(serve: Serve) -> None:
    sent = b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    told(exchange(serve(**QUICK), sent), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"1\r\n \r\n" * 200_000,
        b"".join(b"1;%s\r\n \r\n" % (b"x" * 15_000) for _ in range(2000)),
        b"1;" + b"x" * 300_000 + b"\r\n \r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"fffffffffffffffffffffffff\r\n",
    ],
    ids=["tiny", "extensions", "one long extension", "no number", "negative", "too large"],
)
def test_chunks_that_cost_more_than_they_bring_are_refused(serve: Serve, body: bytes) -> None:
    url = serve(**QUICK)
    with connected(url) as client:
        client.sendall(HEADER + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):  # refused while we still sent
            client.sendall(body)
        answer = read_all(client)
    assert not answer or statuses(answer)[0] in (400, 431)
    assert search(url) == 200


# --- what honest clients may do -----------------------------------------------------------------------------


def wanted(extra: bytes = b"") -> tuple[bytes, bytes]:
    body = json.dumps({"text": "red"}).encode()
    return HEADER + extra + b"Content-Length: %d\r\n\r\n" % len(body), body


def test_a_request_may_come_byte_by_byte(serve: Serve) -> None:
    url = serve(**QUICK)
    with connected(url) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"".join(wanted()):
            client.sendall(bytes([byte]))
        assert client.recv(12) == b"HTTP/1.1 200"


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    head, body = wanted()
    last = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    missing = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert statuses(exchange(serve(**QUICK), head + body + missing + head + body + last)) == [
        200,
        404,
        200,
        200,
    ]


def test_100_continue_is_said_and_a_refusal_comes_without_it(serve: Serve) -> None:
    url = serve(**QUICK)
    head, body = wanted(b"Expect: 100-continue\r\nConnection: close\r\n")
    with connected(url) as client:
        client.sendall(head)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        assert statuses(read_all(client)) == [200]
    nowhere = head.replace(SEARCH.encode(), b"/v1/collections")
    too_long = nowhere.replace(b"Content-Length: ", b"Content-Length: 99999999999")
    assert statuses(exchange(url, too_long)) == [413]


def test_chunks_of_common_sizes_are_taken(serve: Serve) -> None:
    text = json.dumps({"text": "red" + " " * 100_000}).encode()
    url = serve(**QUICK)
    for size in (40, 8192):
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        head = HEADER + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert statuses(exchange(url, head + sent))[0] in (200, 422)


def test_pace_is_judged_by_whole_windows() -> None:
    pace = Pace(since=100.0)
    pace.moved = 5000
    assert not pace.is_too_slow(109.9, 10, 512)  # the window is not over
    assert pace.is_too_slow(110.0, 10, 512)
    pace.moved = 5120
    assert not pace.is_too_slow(120.0, 10, 512)
    assert pace.is_too_slow(130.0, 10, 512)  # what came before counts no more


# --- open files ---------------------------------------------------------------------------------------------

FILES = 100


def test_a_process_without_open_files_to_spare_waits_quietly(tmp_path: Path) -> None:
    """``accept`` fails then; nothing is computed or written in a circle, and it goes on by itself."""
    errors = tmp_path / "stderr"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.api.bare_server", str(FILES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        url = read_line(process)
        with ExitStack() as stack:
            for _ in range(2 * FILES):
                stack.enter_context(connected(url)).sendall(HEADER)
            deadline = time.monotonic() + BOUND
            while "No connection can be accepted" not in errors.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(1.5)  # asyncio tries again meanwhile
        assert httpx.get(f"{url}/livez", timeout=BOUND).status_code == 200
        assert errors.read_text().count("\n") < 30
        assert "Traceback" not in errors.read_text()
    finally:
        kill(process)
        process.communicate(timeout=BOUND)
