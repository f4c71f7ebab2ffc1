"""Bodies are bounded by route, parsed beside the event loop, few at a time, and told in at most 20 errors."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import threading
from collections.abc import Coroutine
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from pydantic import AfterValidator
from starlette.types import Message

from sightline.api import problems
from sightline.api.bodies import INLINE_BYTES, MOST_PARTS, PARSERS, Bodies, BoundedRoute
from sightline.api.dependencies import ModelThreads
from sightline.api.forms import FORM_BYTES
from sightline.api.problems import UploadTooLarge
from sightline.api.schemas.common import Request
from sightline.api.settings import ApiSettings
from sightline.errors import OverloadedError
from sightline.serving.scheduler import client_gone
from tests.api.installation import MakeClient, png, problem, upload

JSON = {"Content-Type": "application/json"}
MIB = 1 << 20
SEARCH = "/v1/collections/pictures/search"
BOUND = 30


class Gate:
    """Holds what checks bodies until it is opened; counts how many are held at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self._lock = threading.Lock()
        self.inside = self.most = 0

    def check(self, text: str) -> str:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        passed = self.open.wait(BOUND)
        with self._lock:
            self.inside -= 1
        if not passed:
            raise ValueError("Nobody opened the gate.")
        return text


def gated_app(gate: Gate, settings: ApiSettings) -> FastAPI:
    """``POST /slow`` checks its body only once the gate is open; ``/alive`` opens it."""

    class Body(Request):
        text: Annotated[str, AfterValidator(gate.check)]

    router = APIRouter(route_class=BoundedRoute)

    async def slow(body: Body) -> int:
        return len(body.text)

    async def alive() -> str:
        gate.open.set()
        return "alive"

    slow.__annotations__["body"] = Body
    router.post("/slow")(slow)
    router.get("/alive")(alive)
    app = FastAPI()
    app.state.bodies = Bodies(settings)
    problems.install(app)
    app.include_router(router)
    return app


def together(app: FastAPI, *asked: tuple[str, str, bytes]) -> list[httpx.Response]:
    """The answers to requests that are made at once, in their order, each a moment after the one before."""

    async def everything() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=BOUND) as client:
            tasks = []
            for method, path, body in asked:
                call: Coroutine[Any, Any, httpx.Response] = client.request(
                    method, path, content=body, headers=JSON
                )
                tasks.append(asyncio.create_task(call))
                for _ in range(100):  # turns of the loop: the request before has got to where it waits
                    await asyncio.sleep(0)
            return await asyncio.gather(*tasks)

    return asyncio.run(everything())


def text_of(size: int) -> bytes:
    """A JSON body with so long a text."""
    return json.dumps({"text": "x" * size}).encode()


def test_others_are_answered_while_a_large_body_is_checked() -> None:
    size = 2 * INLINE_BYTES
    # On the loop this would wait for ever: only the second request lets the first one pass.
    slow, alive = together(
        gated_app(Gate(), ApiSettings()), ("POST", "/slow", text_of(size)), ("GET", "/alive", b"")
    )
    assert (slow.status_code, slow.json(), alive.json()) == (200, size, "alive")


def test_few_large_bodies_are_checked_at_once() -> None:
    gate = Gate()
    body = text_of(2 * INLINE_BYTES)
    answers = together(
        gated_app(gate, ApiSettings()), *[("POST", "/slow", body)] * (3 * PARSERS), ("GET", "/alive", b"")
    )
    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= gate.most <= PARSERS


def test_bodies_beyond_the_memory_for_all_are_refused_and_let_in_again() -> None:
    gate, body = Gate(), text_of(MIB // 2)
    few = ApiSettings(max_bodies_bytes=3 * len(body), max_body_bytes=len(body), max_json_bytes=len(body))
    app = gated_app(gate, few)
    answers = together(app, *[("POST", "/slow", body)] * 5, ("GET", "/alive", b""))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 2
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "5"
    assert refused.json()["type"].endswith(":overloaded")
    again = together(app, *[("POST", "/slow", body)] * 3)  # what was held was given back
    assert [answer.status_code for answer in again] == [200] * 3


def test_small_bodies_have_room_beside_large_ones() -> None:
    bodies = Bodies(ApiSettings(max_bodies_bytes=MIB, max_body_bytes=MIB, max_json_bytes=MIB))
    for _ in range(2):  # the second time: all was given back
        with bodies.holding() as large, bodies.holding() as small, bodies.holding() as grown:
            large.take(MIB)
            small.take(INLINE_BYTES)
            grown.take(INLINE_BYTES)
            with pytest.raises(OverloadedError):
                grown.take(1)


def test_strangers_fill_no_memory_with_keys_that_they_type(make_client: MakeClient) -> None:
    client = make_client(key="sesame")
    long = {"key": "x" * FORM_BYTES}
    problem(client.post("/session", data=long), 413)
    problem(client.post("/session", data=long, files={"file": ("a", b"x")}), 413)
    assert client.post("/session", data={"key": "x" * 1000}).status_code == 401


def test_a_body_that_nobody_asked_for_ends_the_watch_for_its_client(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def receive() -> Message:
            raise UploadTooLarge("Too much.")

        assert await ModelThreads(1).run(receive, gone_soon)
        gc.collect()  # a task that failed unseen is told of when it is thrown away

    asyncio.run(scenario())
    assert "never retrieved" not in caplog.text


def gone_soon() -> bool:
    gone = client_gone.get()
    assert gone is not None
    return gone.wait(BOUND)


def test_plain_json_and_json_with_pictures_have_limits_of_their_own(filled: TestClient) -> None:
    long, ask = b'{"question":"' + b"x" * MIB + b'"}', "/v1/collections/pictures/ask"
    assert "1,048,576 bytes" in problem(filled.post(ask, content=long, headers=JSON), 413)["detail"]
    said = problem(filled.post(SEARCH, content=b'{"text":"' + b"x" * MIB + b'"}', headers=JSON), 422)
    assert {error["pointer"] for error in said["errors"]} == {"#/text"}
    said = problem(filled.post("/v1/rerank", content=b'{"query":"' + b"x" * MIB + b'"}', headers=JSON), 422)
    assert {error["pointer"] for error in said["errors"]} == {"#/query", "#/documents"}
    items = json.dumps([{"caption": "x" * MIB}])
    answer = filled.post(
        "/v1/collections/pictures/images", files=[("files", ("a", png("red")))], data={"items": items}
    )
    assert "1,048,576 bytes" in problem(answer, 413)["detail"]


def test_a_long_body_of_small_parts_is_refused_before_it_is_parsed(filled: TestClient) -> None:
    parts = b'{"query":"a","documents":[' + b"[]," * MOST_PARTS + b"[" * (MIB - 2 * MOST_PARTS)
    # It is no JSON, and nobody gets so far as to see that.
    assert (
        "commas and brackets"
        in problem(filled.post("/v1/rerank", content=parts, headers=JSON), 413)["detail"]
    )


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/rerank", {"query": "a", "documents": [0] * 999}, "#/documents/0"),
        ("/v1/rerank", {"query": "a", "documents": {"content": [0] * 999}}, "#/documents/0/content/0"),
        ("/v1/collections/pictures/trash/restore", {"ids": [0] * 9_999}, "#/ids/0"),
        ("/v1/collections/pictures/jobs", {"sources": [0] * 99}, "#/sources/0"),
    ],
)
def test_of_many_wrong_members_the_first_is_told(
    library: TestClient, path: str, body: Any, pointer: str
) -> None:
    assert [one["pointer"] for one in problem(library.post(path, json=body), 422)["errors"]] == [pointer]


def test_at_most_twenty_errors_are_told(library: TestClient) -> None:
    odd = {f"odd{number}": 0 for number in range(25)}
    said = problem(library.post(SEARCH, json={"text": "a"} | odd), 422)
    assert len(said["errors"]) == 20
    assert said["detail"].endswith("(and 24 more).")
    many = {f"odd{number}": 0 for number in range(1000)}
    said = problem(library.post(SEARCH, json=many), 422)
    assert len(said["errors"]) == 1
    assert "1,000 fields" in said["detail"]


def test_what_was_sent_is_quoted_in_part(library: TestClient) -> None:
    body = {"text": "a", "filter": {"field": "a", "x" * 100_000: 1}}
    assert len(library.post(SEARCH, json=body).content) < 2_000
    assert len(library.post(SEARCH, json={"y" * 100_000: 1}).content) < 5_000
    assert len(library.get("/" + "z" * 60_000).content) < 2_000


@pytest.mark.parametrize("media", ["text/plain", "text/json", "application/jsonp", "multipart/form-data", ""])
def test_json_is_read_under_its_own_name_only(library: TestClient, media: str) -> None:
    answer = library.post(SEARCH, content=b'{"text":"a"}', headers={"Content-Type": media})
    assert "application/json" in problem(answer, 415)["detail"]


def test_text_that_is_not_utf8_is_400(library: TestClient) -> None:
    assert "byte 10" in problem(library.post(SEARCH, content=b'{"text":"\xff"}', headers=JSON), 400)["detail"]
    assert library.post(SEARCH, content=b'\xef\xbb\xbf{"text":"a"}', headers=JSON).status_code == 200


def test_forms_have_few_fields_in_utf8(library: TestClient) -> None:
    path, file = "/v1/collections/pictures/images", [("files", ("a", b"x"))]
    assert "20 fields" in problem(library.post(path, files=file, data={"odd": ["a"] * 30}), 413)["detail"]
    form = {"Content-Type": "multipart/form-data; boundary=b; charset=punycode"}
    assert "UTF-8" in problem(library.post(path, content=b"--b--\r\n", headers=form), 415)["detail"]
    problem(library.post(path, json={"files": []}), 415)
    problem(library.post("/session", data={f"odd{number}": "a" for number in range(30)}), 413)


def test_an_upload_may_bring_as_many_files_as_the_settings_say(make_client: MakeClient) -> None:
    client = make_client(max_upload_files=1200)
    client.post("/v1/collections", json={"name": "pictures"})
    files = {f"{number}": b"x" for number in range(1200)}
    assert len(upload(client, files)["files"]) == 1200
    answer = client.post("/v1/collections/pictures/images", files=[("files", ("a", b"x"))] * 1201)
    assert "1,200 files" in problem(answer, 413)["detail"]


def test_invented_methods_and_addresses_make_no_new_metrics(client: TestClient) -> None:
    def series() -> set[str]:
        lines = client.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0] for line in lines if line.startswith("sightline_http")}

    def ask(number: int) -> None:
        for path in ("/v1/collections", "/livez", "/static/page.css", f"/v1/odd{number}",
                     f"/v1/collections/odd{number}/images/a%2Fb"):  # fmt: skip
            client.request(f"ODD{number}", path)
            client.get(path)

    ask(0)
    series()
    before = series()
    for number in range(1, 50):
        ask(number)
    assert series() == before
    methods = set(re.findall(r'method="([^"]*)"', " ".join(before)))
    assert "other" in methods
    assert methods <= {"GET", "any", "other"}


def test_images_are_counted_by_their_route(library: TestClient) -> None:
    library.get("/v1/collections/pictures/images/no%2Fsuch/file")
    counted = 'route="/v1/collections/{name}/images/{image_id}/file",status="404"'
    assert counted in library.get("/metrics").text


def test_a_log_line_stays_one_short_line(library: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sightline.http"):
        library.request("ODD" * 100, "/v1/a%0A%1B%5B31m%E2%80%A8" + "x" * 10_000)
    message = caplog.records[-1].getMessage()
    assert len(message) < 700
    assert message.isprintable()
    assert "\\n\\x1b[31m\\u2028" in message
    with caplog.at_level(logging.INFO, "sightline.audit"):
        library.delete("/v1/collections/pictures/images/a%0A%1B%5B31m%E2%80%A8" + "x" * 10_000)
    [line] = [record for record in caplog.records if record.name == "sightline.audit"]
    assert len(line.__dict__["image_id"]) < 600
    assert line.__dict__["image_id"].isprintable()


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "ODD"])
def test_other_methods_are_told_which_ones_there_are(library: TestClient, method: str) -> None:
    for path, allowed in {
        "/v1/collections": {"GET", "POST"},
        "/v1/collections/pictures/images/a%2Fb": {"GET", "PATCH", "DELETE"},
        "/v1/collections/pictures/trash": {"GET", "DELETE"},
        "/v1/rerank": {"POST"},
        "/livez": {"GET"},
    }.items():
        answer = library.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == allowed
