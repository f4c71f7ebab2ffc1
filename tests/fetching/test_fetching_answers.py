"""What may come back: pictures, within their bytes and their time; nothing of the client's is given away."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sightline.errors import ImageRejected, InputError, OverloadedError
from sightline.fetching.budget import Budget
from sightline.fetching.network import lookup
from sightline.fetching.settings import FetchSettings
from sightline.fetching.slots import Slots
from tests.fetching.web import GOOD, PICTURE, SECONDS, Site, Web, answer, redirect

LIMIT = 100_000


def endless(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Sends ``piece`` again and again until nobody takes it."""

    def speak(talking: socket.socket) -> None:
        talking.sendall(head)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            talking.sendall(piece)

    return speak


def dripping(head: bytes) -> Callable[[socket.socket], None]:
    """A byte now and then: never silent for long, and never done."""

    def speak(talking: socket.socket) -> None:
        talking.sendall(head)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            talking.sendall(b"a")
            time.sleep(0.02)

    return speak


def silent(talking: socket.socket) -> None:
    """Takes the request and says nothing until the other side hangs up."""
    talking.recv(1)


def cut(talking: socket.socket) -> None:
    """Promises more than it brings."""
    talking.sendall(answer(PICTURE)[: -len(PICTURE) // 2])


OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
ODD = {
    "an error": (answer(b"no", "404 Not Found"), "status 404"),
    "a broken server": (answer(b"no", "500 Internal Server Error"), "status 500"),
    "nothing new": (answer(b"", "304 Not Modified"), "status 304"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
    "a part": (answer(PICTURE[:10], "206 Partial Content"), "status 206"),
    "choices": (answer(PICTURE, "300 Multiple Choices"), "status 300"),
    "a redirect to nowhere": (answer(b"", "302 Found"), "status 302"),
    "a status of its own": (answer(PICTURE, "299 Odd"), "status 299"),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "gives no picture"),
    "a web page": (answer(b"<html>" + b"x" * 200, media="text/html"), "text/html"),
    "a web page without a type": (answer(b"<html>" + b"x" * 200, media=None), "something else"),
    "a type that is a script": (answer(b"x" * 200, media="<script>alert(1)</script>"), "something else"),
    "short words": (answer(b"secret", media="text/plain"), "text/plain"),
    "JSON": (answer(b'{"AccessKeyId": "' + b"A" * 90, media="application/json"), "application/json"),
    "nothing at all": (answer(b"", media="text/plain"), "not a picture"),
    "too much, and it says so": (answer(b"x", "200 OK", "image/png", "Content-Length: 200000"), "."),
    "too much, by its length": (OK + b"Content-Length: 200000\r\n\r\n" + PICTURE, "more than"),
    "a length beyond all": (OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + PICTURE, "."),
    "a length below nothing": (OK + b"Content-Length: -1\r\n\r\n" + PICTURE, "gives no picture"),
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\n" + PICTURE, "gives no picture"),
    "less than it says": (cut, "gives no picture"),
    "no end": (endless(OK + b"\r\n", b"x" * 5000), "more than"),
    "no end, in chunks": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        "more than",
    ),
    "chunks of one byte": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 500 + b"\r\nx\r\n"),
        "gives no picture",
    ),
    "a broken chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n", "gives no picture"),
    "a head without end": (
        endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 5000 + b"\r\n"), "gives no picture"
    ),
    "one long head": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 5000), "gives no picture"),
    "promises without end": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50), "gives no picture"),
    "gzip": (answer(gzip.compress(PICTURE), "200 OK", "image/png", "Content-Encoding: gzip"), "compressed"),
    "a bomb": (
        answer(gzip.compress(b"\0" * 9_000_000), "200 OK", "image/png", "Content-Encoding: gzip"),
        "compressed",
    ),
    "layers": (answer(PICTURE, "200 OK", "image/png", "Content-Encoding: br, gzip"), "compressed"),
    "HTTP/0.9": (PICTURE, "gives no picture"),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", "gives no picture"),
    "Redis": (b"-ERR unknown command 'GET'\r\n", "gives no picture"),
    "TLS where none was asked for": (b"\x15\x03\x01\x00\x02\x02\x28", "gives no picture"),
    "an empty line": (b"\r\n\r\n", "gives no picture"),
    "a hang-up": (b"", "gives no picture"),
    "a head with a NUL": (b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n" + PICTURE, "gives no picture"),
    "HTTP/2": (b"HTTP/2 200 OK\r\n\r\n" + PICTURE, "gives no picture"),
    "a status of letters": (b"HTTP/1.1 abc OK\r\n\r\n" + PICTURE, "gives no picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_refused_in_one_sentence(web: Web, name: str) -> None:
    web.good.pages["/a.png"], says = ODD[name]
    with pytest.raises(ImageRejected, match=says) as caught:
        web.client().fetch(web.url())
    assert caught.value.reason in ("unreachable", "too_many_bytes", "not_an_image")
    assert caught.value.detail.endswith(".")
    assert "\n" not in caught.value.detail
    assert "<" not in caught.value.detail
    assert web.good.connections == 1
    assert web.trapped == 0


@pytest.mark.parametrize(
    ("speak", "changes"),
    [
        (silent, {"idle_seconds": 0.2}),
        (silent, {"seconds": 0.2}),
        (dripping(b""), {"seconds": 0.3}),
        (dripping(OK), {"seconds": 0.3}),
        (dripping(OK + b"Content-Length: 90000\r\n\r\n"), {"seconds": 0.3}),
        (dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n"), {"seconds": 0.3}),
    ],
    ids=["silent", "silent to the end", "a dripping status", "dripping heads", "a dripping body", "a chunk"],
)
def test_a_slow_answer_is_given_up_before_it_ends(
    web: Web, speak: Callable[[socket.socket], None], changes: dict[str, float]
) -> None:
    """The server would go on: only the client's own clock ends it."""
    ended = threading.Event()

    def watched(talking: socket.socket) -> None:
        try:
            speak(talking)
        finally:
            ended.set()

    web.good.pages["/a.png"] = watched
    with pytest.raises(ImageRejected, match="gives no picture"):
        web.client(**changes).fetch(web.url())
    assert ended.wait(SECONDS)


@pytest.mark.parametrize(
    "page",
    [
        answer(),
        answer(media="image/jpeg"),
        answer(media="application/octet-stream"),
        answer(media=None),
        answer(media="text/plain"),
        answer(PICTURE, "200 OK", "image/png", "Content-Encoding: identity"),
        b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE,
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PICTURE), PICTURE),
    ],
)
def test_pictures_come_by_their_type_or_by_their_first_bytes(web: Web, page: bytes) -> None:
    web.good.pages["/a.png"] = page
    assert web.client().fetch(web.url()) == PICTURE


def test_a_picture_of_exactly_the_limit_comes_and_one_byte_more_does_not(web: Web) -> None:
    web.good.pages["/a.png"] = answer(PICTURE)
    assert web.client(max_bytes=len(PICTURE)).fetch(web.url()) == PICTURE
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        web.client(max_bytes=len(PICTURE) - 1).fetch(web.url())


def test_what_is_no_picture_is_not_read_on(web: Web) -> None:
    """Its first bytes decide: the rest, gigabytes maybe, is left where it is."""
    web.good.pages["/a.png"] = endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", b"<p>")
    with pytest.raises(ImageRejected, match="text/html"):
        web.client(max_bytes=1 << 40).fetch(web.url())


def test_the_request_gives_nothing_away(web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine good.test login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client = web.client()
    web.good.pages["/a.png"] = answer(PICTURE, "200 OK", "image/png", "Set-Cookie: a=b; Path=/")
    web.good.pages["/first"] = redirect("/a.png")
    for _ in range(2):
        assert client.fetch(web.url("/first")) == PICTURE
    heads = b"".join(web.good.asked).lower()
    for private in (b"cookie", b"authorization", b"referer", b"secret", b"origin:"):
        assert private not in heads
    first = web.good.asked[0].decode().split("\r\n")
    assert first[0] == "GET /first HTTP/1.1"
    assert f"Host: good.test:{web.port}" in first
    assert any(line.startswith("User-Agent: Sightline") for line in first)
    assert "Accept-Encoding: identity" in first
    assert web.good.connections == 4  # a connection of its own for every request


def test_a_url_in_other_letters_is_asked_for_as_browsers_would(web: Web) -> None:
    web.names.known["xn--bcher-kva.test"] = [[GOOD]]
    web.good.pages["/%C3%A4%20b.png?q=%22"] = answer()
    assert web.client().fetch(web.url("/ä%20b.png?q=%22", "bücher.test")) == PICTURE
    assert f"Host: xn--bcher-kva.test:{web.port}".encode() in web.good.asked[0]


# --- busy servers, and many at once -------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_server_is_asked_again_where_there_is_time(web: Web, status: str) -> None:
    busy = answer(b"", status, None, "Retry-After: 0")
    web.good.pages["/a.png"] = [busy, busy, answer()]
    assert web.client().fetch_patiently(web.url()) == PICTURE
    web.good.pages["/a.png"] = [busy, answer()]
    with pytest.raises(ImageRejected, match=f"status {status[:3]}"):
        web.client().fetch(web.url())


@pytest.mark.parametrize("wish", ["3600", "99999999999999999999", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_that_wants_to_be_left_alone_is(web: Web, wish: str) -> None:
    web.good.pages["/a.png"] = [answer(b"", "429 Too Many Requests", None, f"Retry-After: {wish}"), answer()]
    with pytest.raises(ImageRejected, match="status 429"):
        web.client().fetch_patiently(web.url())
    assert web.good.connections == 1


def test_a_server_that_stays_busy_is_given_up(web: Web) -> None:
    web.good.pages["/a.png"] = answer(b"", "503 Service Unavailable", None, "Retry-After: 0")
    with pytest.raises(ImageRejected, match="status 503"):
        web.client().fetch_patiently(web.url())
    assert web.good.connections == 3


def test_one_host_sees_few_connections_at_once(web: Web) -> None:
    lock, inside, most = threading.Lock(), 0, 0
    full = threading.Event()

    def speak(talking: socket.socket) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if inside == 2:
            full.set()
        full.wait(SECONDS)
        with lock:
            inside -= 1
        talking.sendall(answer())

    web.good.pages["/a.png"] = speak
    client = web.client(host_connections=2)
    threads = [threading.Thread(target=client.fetch, args=(web.url(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert (web.good.connections, most) == (8, 2)


def test_slots_are_given_back_and_waited_for_no_longer_than_there_is_time() -> None:
    slots = Slots(1, 1)
    with slots.of("a", Budget(1, 1.0)), pytest.raises(TimeoutError), slots.of("b", Budget(1, 0.05)):
        pass
    with slots.of("b", Budget(1, 1.0)):
        pass


def test_only_so_many_requests_fetch_at_once(web: Web) -> None:
    client = web.client(connections=1)
    with client.request(), pytest.raises(OverloadedError), client.request():
        pass
    with client.request() as budget:
        assert client.fetch(web.url(), budget) == PICTURE


def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    release = threading.Event()

    def hangs(host: str, port: int) -> list[str]:
        release.wait(SECONDS)
        return [GOOD]

    try:
        with pytest.raises(TimeoutError):
            lookup(hangs, "slow.test", 443, 0.05)
    finally:
        release.set()


@pytest.mark.parametrize(
    "wrong", [{"seconds": -1.0}, {"allowed_networks": ("10.0.0.1/8",)}, {"allowed_networks": ("inner",)}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="SIGHTLINE_FETCH__"):
        FetchSettings(**wrong)  # type: ignore[arg-type]


# --- certificates -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for good.test that signs itself, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=good.test"]
    names = ["-addext", "subjectAltName=DNS:good.test"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, *made, *names]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def safe(certificate: Path) -> Iterator[tuple[Site, list[str | None]]]:
    """A site with TLS, and the names that it was asked for before anything was encrypted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    named: list[str | None] = []
    context.sni_callback = lambda opened, name, _: named.append(name)
    with closing(Site(GOOD, tls=context)) as site:
        site.pages["/a.png"] = answer()
        yield site, named


def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(
    web: Web, safe: tuple[Site, list[str | None]], certificate: Path
) -> None:
    site, named = safe
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    web.names.known["other.test"] = [[GOOD]]
    client = web.client(tls=trusting, ports=(site.port,))
    assert client.fetch(f"https://good.test:{site.port}/a.png") == PICTURE
    assert named == ["good.test"]
    for host in ("other.test", GOOD):
        with pytest.raises(ImageRejected, match="gives no picture"):
            client.fetch(f"https://{host}:{site.port}/a.png")
    with pytest.raises(ImageRejected, match="gives no picture"):  # nobody vouches for it
        web.client(ports=(site.port,)).fetch(f"https://good.test:{site.port}/a.png")
    assert len(site.asked) == 1


def test_https_is_not_left_for_plain_http_by_a_redirect(
    web: Web, safe: tuple[Site, list[str | None]], certificate: Path
) -> None:
    site, _ = safe
    site.pages["/a.png"] = redirect(web.url())
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    client = web.client(tls=trusting, ports=(site.port, web.port))
    with pytest.raises(ImageRejected, match="plain HTTP"):
        client.fetch(f"https://good.test:{site.port}/a.png")
    assert web.good.connections == 0
