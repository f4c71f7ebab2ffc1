"""Pictures on the web over HTTP: refused unless it was turned on; then through the guarded client only."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.imaging import IsolatedDecoder
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.api.conftest import nowhere
from tests.api.installation import png, problem
from tests.fetching.web import Web, answer, redirect, small_web

MakeWebClient = Callable[..., TestClient]
JOBS = "/v1/collections/pictures/jobs"


@pytest.fixture(scope="module")
def _web() -> Iterator[Web]:
    with small_web() as web:
        yield web


@pytest.fixture
def web(_web: Web) -> Web:
    """A small web with pictures of one colour each."""
    _web.forget()
    for name in ("red", "blue"):
        _web.good.pages[f"/{name}.png"] = answer(png(name))
    return _web


@pytest.fixture
def web_client(settings: Settings, api_decoder: IsolatedDecoder, web: Web) -> Iterator[MakeWebClient]:
    """Clients of installations that fetch: ``web_client(max_documents=2)``."""
    made: list[Installation] = []

    def make(roots: tuple[str, ...] = (), **changes: Any) -> TestClient:
        told = {"fetch": web.settings(**changes), "api": replace(settings.api, source_roots=roots)}
        changed = settings.model_copy(update=told)
        made.append(open_installation(changed, send=nowhere, decoder=api_decoder, resolve=web.names))
        return TestClient(create_app(made[-1].api_parts), raise_server_exceptions=False)

    yield make
    for services in made:
        services.catalog.close()


def asked(client: TestClient, *documents: Any) -> Any:
    return client.post("/v1/rerank", json={"query": "red", "documents": list(documents), "model": "toy"})


def part(url: str) -> dict[str, Any]:
    """vLLM's content part."""
    return {"content": [{"type": "image_url", "image_url": {"url": url}}]}


def test_off_by_default_with_the_setting_that_turns_it_on(library: TestClient, web: Web) -> None:
    for document, pointer in (
        ({"image": web.url("/red.png")}, "#/documents/0/image"),
        (part(web.url("/red.png")), "#/documents/0/content/0/image_url/url"),
    ):
        body = problem(asked(library, document), 422)
        assert "not fetched" in body["detail"]
        assert "SIGHTLINE_FETCH__ENABLED=true" in body["detail"]
        assert body["errors"][0]["pointer"] == pointer
    assert (web.good.connections, web.trapped, web.names.asked) == (0, 0, [])


def test_pictures_on_the_web_are_scored_like_those_that_came_along(
    web_client: MakeWebClient, web: Web
) -> None:
    client = web_client()
    urls = [web.url("/blue.png"), web.url("/red.png")]
    along = ["data:image/png;base64," + base64.b64encode(png(name)).decode() for name in ("blue", "red")]
    fetched = asked(client, {"image": urls[0]}, part(urls[1])).json()
    assert fetched["results"] == asked(client, *({"image": uri} for uri in along)).json()["results"]
    assert [one["index"] for one in fetched["results"]] == [1, 0]
    assert web.good.connections == 2


@pytest.mark.parametrize(
    ("path", "page", "says"),
    [
        ("/inner", redirect("http://127.0.0.1/"), "gives no picture"),
        ("/page", answer(b"<html>" + b"x" * 99, media="text/html"), "text/html"),
        ("/lies", answer(b"no picture at all", media="image/png"), "no usable picture"),
        ("/big", answer(b"x" * 100_001), "100,000 bytes"),
        ("/gone", answer(b"", "404 Not Found"), "status 404"),
    ],
)
def test_what_cannot_be_fetched_is_told_of_its_document(
    web_client: MakeWebClient, web: Web, path: str, page: bytes, says: str
) -> None:
    web.good.pages[path] = page
    body = problem(asked(web_client(), {"image": web.url("/red.png")}, {"image": web.url(path)}), 422)
    assert says in body["detail"]
    assert body["errors"][0]["pointer"].startswith("#/documents/1")
    assert web.trapped == 0


def test_inner_addresses_are_answered_like_hosts_that_do_not_exist(
    web_client: MakeWebClient, web: Web
) -> None:
    web.names.known["inner.test"] = [["127.0.0.1"]]
    client, said = web_client(), set()
    for host in ("inner.test", "nobody.test", "127.0.0.1", "10.0.0.1", "[::1]", "169.254.169.254"):
        body = problem(asked(client, {"image": web.url(host=host)}), 422)
        said.add(body["detail"].replace(host, "HOST"))
    assert len(said) == 1
    assert (web.good.connections, web.trapped) == (0, 0)


@pytest.mark.parametrize("url", ["ftp://good.test/a", "file:///etc/passwd", "//good.test/a.png", "blob:1"])
def test_other_addresses_are_refused_when_it_is_on_too(web_client: MakeWebClient, web: Web, url: str) -> None:
    assert "not fetched" in problem(asked(web_client(), {"image": url}), 422)["detail"]


def test_urls_are_limited_in_number_in_bytes_and_in_time(web_client: MakeWebClient, web: Web) -> None:
    urls = [{"image": web.url(f"/{name}.png")} for name in ("red", "blue", "red")]
    assert "at most 2 documents" in problem(asked(web_client(max_documents=2), *urls), 413)["detail"]
    assert web.good.connections == 0
    size = len(png("red")) + len(png("blue"))
    assert asked(web_client(documents_bytes=size), *urls[:2]).status_code == 200
    assert "bytes" in problem(asked(web_client(documents_bytes=size - 1), *urls[:2]), 422)["detail"]
    web.good.pages["/slow"] = lambda talking: talking.recv(1) and None
    slow = {"image": web.url("/slow")}
    assert "gives no picture" in problem(asked(web_client(documents_seconds=0.2), slow), 422)["detail"]


def test_jobs_fetch_only_what_lies_below_a_root_on_the_web(
    web_client: MakeWebClient, web: Web, tmp_path: Path
) -> None:
    manifest = tmp_path / "urls.csv"
    manifest.write_text(f"uri\n{web.url('/red.png')}\nhttp://127.0.0.1:{web.port}/a.png\n")
    client = web_client(roots=(str(tmp_path), web.url("")))
    client.post("/v1/collections", json={"name": "pictures"})
    problem(client.post(JOBS, json={"sources": [f"http://127.0.0.1:{web.port}/a.png"]}), 403)
    answered = client.post(JOBS, json={"sources": [str(manifest), web.url("/blue.png")]})
    job = ended(client, answered.headers["location"])
    assert [(one["reason"], one["id"]) for one in job["errors"]] == [
        ("forbidden", f"http://127.0.0.1:{web.port}/a.png")
    ]
    assert client.get("/v1/collections/pictures").json()["pending"] == 2
    assert (web.good.connections, web.trapped) == (2, 0)


def test_jobs_fetch_nothing_when_it_is_off(web_client: MakeWebClient, web: Web, tmp_path: Path) -> None:
    (tmp_path / "urls.jsonl").write_text(json.dumps({"uri": web.url("/red.png")}) + "\n")
    client = web_client(roots=(str(tmp_path), web.url("")), enabled=False)
    client.post("/v1/collections", json={"name": "pictures"})
    for source in (str(tmp_path / "urls.jsonl"), web.url("/red.png")):
        job = ended(client, client.post(JOBS, json={"sources": [source]}).headers["location"])
        assert "SIGHTLINE_FETCH__ENABLED=true" in (job["detail"] or job["errors"][0]["detail"])
    assert (web.good.connections, web.names.asked) == (0, [])


def ended(client: TestClient, url: str) -> Any:
    """The job once its listing is over."""
    for _ in range(200):
        job = client.get(url).json()
        if job["state"] != "registering":
            return job
        time.sleep(0.05)
    raise AssertionError("still registering")


def test_when_too_many_requests_fetch_the_next_is_told_to_come_again(
    web_client: MakeWebClient, web: Web
) -> None:
    client = web_client(connections=1)
    parts: Any = client.app.state.parts  # type: ignore[attr-defined]
    with parts.fetcher.request():
        refused = asked(client, {"image": web.url("/red.png")})
        assert problem(refused, 503)["type"].endswith("overloaded")
        assert int(refused.headers["retry-after"]) > 0
    assert web.good.connections == 0
    assert asked(client, {"image": web.url("/red.png")}).status_code == 200
