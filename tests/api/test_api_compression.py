"""gzip: the same answers in fewer bytes, and nothing else about them changes."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from sightline.api.compression import Compression
from sightline.api.problems import Problem
from tests.api.asgi import Given, Pairs, ask
from tests.api.installation import SHADES

GZIP = ("Accept-Encoding", "br, gzip;q=0.8")
HOST = ("Host", "localhost")
SEARCH = "/v1/collections/pictures/search"


def asked(client: TestClient, method: str, path: str, *headers: tuple[str, str], body: bytes = b"") -> Given:
    """Straight to the application: no client decodes, or asks for codings of its own."""
    kind = [("Content-Type", "application/json")] if body else []
    return ask(client.app, method, path, [HOST, *headers, *kind], body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path", ["/", "/?q=red+blue", "/static/sightline.css", "/static/lightbox.js", "/openapi.json",
             "/v1/collections/pictures/images", "/texts?collection=pictures"],
)  # fmt: skip
def test_text_comes_in_fewer_bytes_and_is_the_same(library: TestClient, path: str) -> None:
    plain, packed = asked(library, "GET", path), asked(library, "GET", path, GZIP)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body) / 2
    assert "accept-encoding" in packed.headers["vary"].lower()
    if "?q=" not in path:  # a search says how long it took
        assert gzip.decompress(packed.body) == plain.body
    names = plain.headers.keys() | {"content-encoding", "vary"}
    assert packed.headers.keys() == names
    assert packed.headers["content-type"] == plain.headers["content-type"]


def test_the_answer_of_a_search_comes_in_fewer_bytes(library: TestClient) -> None:
    body = json.dumps({"text": "red blue", "limit": 20}).encode()
    packed = asked(library, "POST", SEARCH, GZIP, body=body)
    assert packed.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(packed.body))["results"]) == len(SHADES)


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "gzip; q=0.000", "br", "x-gzip-2"])
def test_who_does_not_take_gzip_gets_none(library: TestClient, accepted: str) -> None:
    answer = asked(library, "GET", "/openapi.json", ("Accept-Encoding", accepted))
    assert "content-encoding" not in answer.headers
    assert json.loads(answer.body)["openapi"]


def test_pictures_ranges_heads_and_small_answers_are_left_as_they_are(library: TestClient) -> None:
    image = "/v1/collections/pictures/images/red"
    style = "/static/sightline.css"
    for method, path, headers, status in (
        ("GET", f"{image}/file", [], 200),
        ("GET", f"{image}/file", [("Range", "bytes=0-9")], 206),
        ("GET", f"{image}/thumbnail", [], 200),
        ("GET", style, [("Range", "bytes=0-1999")], 206),
        ("HEAD", style, [], 200),
        ("HEAD", f"{image}/file", [], 200),
        ("GET", "/static/fonts/bricolage-grotesque.woff2", [], 200),
        ("GET", "/livez", [], 200),
    ):
        plain = asked(library, method, path, *headers)
        packed = asked(library, method, path, *headers, GZIP)
        assert (packed.status, packed.body) == (plain.status, plain.body) == (status, plain.body), path
        differing = {name for name in plain.headers if packed.headers[name] != plain.headers[name]}
        assert differing <= {"x-request-id", "date"}, path
        assert "content-encoding" not in packed.headers


def test_a_tag_of_compressed_bytes_is_weak_and_still_known(library: TestClient) -> None:
    style = "/static/sightline.css"
    plain, packed = asked(library, "GET", style), asked(library, "GET", style, GZIP)
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    again = asked(library, "GET", style, GZIP, ("If-None-Match", packed.headers["etag"]))
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(("site", "packs"), [("same-origin", True), ("none", True), ("cross-site", False),
                                             ("same-site", False)])  # fmt: skip
def test_sizes_tell_other_sites_nothing(library: TestClient, site: str, packs: bool) -> None:
    """What a page of another site makes a browser ask for is not compressed beside what is kept here."""
    navigation: Pairs = [
        ("Sec-Fetch-Site", site),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ]
    answer = asked(library, "GET", "/?q=red", GZIP, *navigation)
    assert answer.status == 200
    assert ("content-encoding" in answer.headers) == packs


def test_keys_are_never_compressed(client: TestClient) -> None:
    body = json.dumps({"name": "k" * 60, "scope": "admin"}).encode()
    made = asked(client, "POST", "/v1/keys", GZIP, body=body)
    assert made.status == 201
    bearer = ("Authorization", f"Bearer {made.json['key']}")
    for number in range(12):
        body = json.dumps({"name": f"{'k' * 50}{number}"}).encode()
        assert "content-encoding" not in asked(client, "POST", "/v1/keys", GZIP, bearer, body=body).headers
    listed = asked(client, "GET", "/v1/keys", GZIP, bearer)
    assert len(listed.body) > 1000
    assert "content-encoding" not in listed.headers


@pytest.mark.parametrize(("kind", "packs"), [("text/event-stream", False), ("text/html", True)])
def test_each_piece_is_sent_before_the_next_is_made(kind: str, packs: bool) -> None:
    """Events pass as they are; a page that came in pieces would not be kept back either."""
    sent: list[Message] = []
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]}
        )
        for number in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            seen.append(len([one for one in sent if one.get("body")]))
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise Problem(500, "Nothing is read here.")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept-encoding", b"gzip")]}
    asyncio.run(Compression(app)(scope, receive, send))
    assert seen == [1, 2, 3]
    body = b"".join(message.get("body", b"") for message in sent)
    assert (gzip.decompress(body) if packs else body) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert any(name == b"content-encoding" for name, _ in sent[0]["headers"]) == packs


def test_a_followed_search_is_not_compressed(library: TestClient) -> None:
    answer = library.get(
        "/?q=red+blue&k=4&effort=full", headers={"X-Sightline-Part": "events", "Accept-Encoding": "gzip"}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in answer.headers
    assert answer.text.count("event: ") >= 2
