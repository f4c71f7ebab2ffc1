"""`sightline.client` against the real application: what the library says, in the library's own records."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from sightline import errors
from sightline.api.problems import from_error, respond
from sightline.api.server import running
from sightline.client import AsyncClient, Client, catalog, searches
from sightline.client.http import ENDED
from sightline.client.refusals import refusal
from sightline.errors import (
    ConflictError,
    DeadlineError,
    FilterError,
    ImageRejected,
    InputError,
    NotFoundError,
    SightlineError,
    UnavailableError,
)
from sightline.queries import Clause, Query
from sightline.records import SearchRequest, SearchResponse
from sightline.rerank_records import StoredImage
from sightline.store import records
from sightline.wiring import Installation
from tests.api.installation import SHADES, MakeClient, png

ROOT = Path(__file__).parents[2]
HOST = "http://testserver"
QUERY = Query(all=(Clause("red"),), none=(Clause("blue", 0.5),))


def client_of(app: TestClient, key: str | None = None) -> Client:
    """A client that speaks to the application in this process."""
    return Client(HOST, key, transport=InProcess(app))


class InProcess(httpx.BaseTransport):
    """What a client sends goes to an application in this process, headers and bytes as they are."""

    def __init__(self, app: TestClient) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name != "accept-encoding"}
        sent = {"content": request.read(), "headers": headers | {"accept-encoding": "identity"}}
        answer = self._app.request(request.method, str(request.url), **sent)
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


def timeless(response: SearchResponse) -> SearchResponse:
    return replace(response, timings=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked",
    [
        {"text": "red"},
        {"text": "red", "limit": 2, "offset": 1, "rerank": False, "filter": {"must": []}},
        {"text": "red", "min_probability": 0.1, "sort": "relevance", "exact": True},
        {"text": "red", "explain": True, "effort": "full", "precision": "exact", "score": "itm"},
        {"query": QUERY, "texts": False, "index": "exact"},
    ],
    ids=lambda asked: " ".join(asked),
)
def test_an_answer_is_what_the_library_says(library: TestClient, asked: dict[str, Any]) -> None:
    search = library.app.state.parts.search  # type: ignore[attr-defined]
    said = search.find(SearchRequest("pictures", **asked))
    assert said.results
    assert timeless(client_of(library).search("pictures", **asked)) == timeless(said)


def test_every_field_of_a_search_can_be_asked_for() -> None:
    asked = inspect.signature(searches.search).parameters
    known = {one.name: one for one in fields(SearchRequest)}
    assert known.keys() <= asked.keys()
    for name in known.keys() - {"collection", "image"}:
        assert asked[name].default == known[name].default


def test_pictures_are_asked_with_by_their_bytes_and_by_their_ids(library: TestClient) -> None:
    client = client_of(library)
    by_bytes = client.similar("pictures", image=png("red"), limit=1).results[0]
    assert (by_bytes.id, by_bytes.similarity) == ("red", by_bytes.score)
    by_id = client.similar("pictures", image_id="red")
    assert "red" not in [hit.id for hit in by_id.results], "no answer to itself"
    both = client.search("pictures", "blue", image_id="red", limit=1).results[0]
    assert both.id == "half"
    ranked = client.rerank("red", [png("blue"), StoredImage("pictures", "red")])
    assert [one["index"] for one in ranked["results"]] == [1, 0]


def test_a_batch_says_for_each_search_what_it_says_alone(library: TestClient) -> None:
    client = client_of(library)
    asked = [
        "red",
        SearchRequest("pictures", "blue", limit=2, filter={"must": []}),
        SearchRequest("pictures", query=QUERY),
    ]
    alone = [
        client.search("pictures", "red"),
        client.search("pictures", "blue", limit=2, filter={"must": []}),
    ]
    alone.append(client.search("pictures", query=QUERY))
    found = client.search_batch("pictures", asked)
    assert [timeless(one.answered()) for one in found] == [timeless(one) for one in alone]
    lost = SearchRequest("pictures", image=StoredImage("pictures", "nowhere"))
    good, bad = client.search_batch("pictures", ["red", lost])
    assert good.answered().results
    with pytest.raises(NotFoundError, match="nowhere"):
        bad.answered()
    with pytest.raises(InputError, match="asks one collection"):
        client.search_batch("pictures", [SearchRequest("others", "red")])
    with pytest.raises(InputError, match="searches"):
        client.search_batch("pictures", [])


def test_an_asynchronous_client_says_the_same(library: TestClient) -> None:
    client = client_of(library)

    async def said() -> tuple[SearchResponse, list[str], list[Any]]:
        async with AsyncClient(HOST, transport=httpx.ASGITransport(library.app)) as twin:
            found = await twin.search("pictures", query=QUERY)
            ids = [one["id"] async for one in twin.images("pictures", page=4)]
            with pytest.raises(NotFoundError, match="There is no collection 'nowhere'"):
                await twin.search("nowhere", "red")
            return found, ids, await twin.collections()

    found, ids, collections = asyncio.run(said())
    assert timeless(found) == timeless(client.search("pictures", query=QUERY))
    assert ids == [one["id"] for one in client.images("pictures", page=500)]
    assert collections == client.collections()


def test_both_clients_have_the_same_methods_with_the_same_words() -> None:
    def told(kind: type) -> dict[str, Any]:
        return {name: one.__doc__ for name, one in vars(kind).items() if not name.startswith("_")}

    assert told(Client) == told(AsyncClient)
    assert all(told(Client).values())


def test_the_life_of_a_picture(filled: TestClient, services: Installation) -> None:
    client, odd = client_of(filled), "a/b c%2F.png"
    assert client.create("others")["name"] == "others"
    files = [("one.png", png("red")), ("two.png", png("blue"))]
    uploaded = client.upload("others", files, [{"id": odd, "caption": "all red"}, {"id": ".x"}])
    with pytest.raises(DeadlineError):
        client.wait_for(uploaded["job"]["id"], timeout=0.0)
    services.indexer.run_pending()
    job = client.wait_for(uploaded["job"]["id"], timeout=60)
    assert (job["state"], job["id"]) == ("done", client.jobs("others")[0]["id"])
    assert client.image_bytes("others", odd) == png("red")
    assert client.thumbnail("others", odd)[:4] == b"RIFF"
    assert client.image("others", odd)["caption"] == "all red"
    assert [one["id"] for one in client.images("others", page=1)] == [odd, ".x"]
    only = {"must": [{"field": "id", "equals": ".x"}]}
    assert [one["id"] for one in client.images("others", filter=only)] == [".x"]
    client.delete("others", odd)
    assert [one["id"] for one in client.images("others")] == [".x"]
    client.delete_collection("others", purge=True)
    assert [one["name"] for one in client.collections()] == ["pictures"]
    with pytest.raises(NotFoundError):
        client.collection("others")
    with pytest.raises(InputError, match="reads no folders"):
        client.index("pictures", ["/nowhere"])
    assert client.ready()["checks"]["database"]["ready"]


def test_all_pages_are_listed(library: TestClient) -> None:
    assert [one["id"] for one in client_of(library).images("pictures", page=4)] == list(SHADES)


def test_refusals_are_the_errors_of_the_library(library: TestClient, make_client: MakeClient) -> None:
    client = client_of(library)
    with pytest.raises(InputError, match=r"#/limit: .*1000"):
        client.search("pictures", "red", limit=1001)
    with pytest.raises(FilterError):
        client.search("pictures", "red", filter={"x": 1})
    with pytest.raises(InputError, match="Name one picture"):
        client.similar("pictures")
    keyed = make_client(key="sesame")
    for key in (None, "wrong"):
        with pytest.raises(InputError, match="key") as refused:
            client_of(keyed, key).collections()
        assert "wrong" not in str(refused.value)
    assert client_of(keyed, " sesame ").collections() == []


KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SightlineError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_that_crosses_the_wire_keeps_its_code_and_its_sentence(kind: type[SightlineError]) -> None:
    error = ImageRejected("bad", "It is bad.") if kind is ImageRejected else kind("It is bad.")
    sent = respond(from_error(error), "/v1/jobs", None)
    came = refusal(sent.status_code, bytes(sent.body), HOST)
    assert (came.code, str(came)) == (error.code, str(error))
    assert isinstance(came, next(one for one in kind.__mro__ if "code" in vars(one)))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, b"<html>Bad gateway</html>", UnavailableError),
        (404, b"", UnavailableError),
        (302, b"", UnavailableError),
        (429, b'{"detail": "Later."}', UnavailableError),
        (409, b'{"detail": "No.", "type": "urn:else"}', ConflictError),
        (413, b'{"detail": "Too large."}', InputError),
        (200, b"<html>", UnavailableError),
        (200, b'{"results": [{}]}', UnavailableError),
        (200, b"[" * 100_000, UnavailableError),
    ],
)
def test_whatever_answers_is_one_of_our_errors(status: int, body: bytes, kind: type[SightlineError]) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=body))
    with pytest.raises(kind) as raised, Client(HOST, transport=transport) as client:
        client.search("pictures", "red")
    assert re.fullmatch(r".*[.?]", str(raised.value))


def test_nobody_there_is_a_sentence_with_the_address(library: TestClient) -> None:
    with running(library.app) as url, Client(url, "a key") as client:  # type: ignore[arg-type]
        assert client.search("pictures", "red", limit=1).results[0].id == "red"
    with pytest.raises(UnavailableError, match=re.escape(url)) as raised, Client(url, "sesame") as client:
        client.collections()
    assert "sesame" not in str(raised.value) + repr(client)


def test_a_key_goes_nowhere_but_to_its_server() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(307, headers={"Location": "http://elsewhere.test/"})

    with pytest.raises(UnavailableError, match="another address"):
        Client(HOST, "sesame", transport=httpx.MockTransport(answer)).collections()
    assert [(one.url.host, one.headers["authorization"]) for one in seen] == [("testserver", "Bearer sesame")]


def told(body: Any) -> Client:
    """A client that is answered so, whatever it asks."""
    return Client(HOST, transport=httpx.MockTransport(lambda request: httpx.Response(200, json=body)))


@pytest.mark.parametrize(
    "body",
    [
        {}, {"items": 5, "results": 5, "state": 5}, {"items": None, "results": None, "state": None},
        {"items": ["x"], "results": ["x"]}, {"items": {"a": 1}, "results": {"a": 1}},
        {"items": [], "results": [{}], "next_cursor": 3},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: list(client.images("c")), lambda client: client.search("c", "red"),
        lambda client: client.wait_for("j", timeout=0),
    ],
    ids=["images", "search", "wait_for"],
)  # fmt: skip
def test_half_an_answer_is_told_of_as_one(ask: Callable[[Client], object], body: Any) -> None:
    with pytest.raises(UnavailableError, match="ask a server of the same version"):
        ask(told(body))


def test_a_server_without_lists_is_no_server_without_collections() -> None:
    for ask in (Client.collections, Client.jobs):
        with pytest.raises(UnavailableError):
            ask(told({"detail": "hello"}))


def test_a_list_that_leads_to_itself_has_an_end() -> None:
    with pytest.raises(UnavailableError, match="next_cursor"):
        list(told({"items": [{"id": "a"}], "next_cursor": "a"}).images("c"))


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_a_name_leads_to_no_other_address(name: str) -> None:
    client = Client(HOST, transport=httpx.MockTransport(lambda request: pytest.fail(str(request.url))))
    calls: list[Callable[[], object]] = [
        lambda: client.delete_collection(name), lambda: client.search(name, "red"),
        lambda: client.delete(name, "a"), lambda: client.cancel(name),
    ]  # fmt: skip
    if name.strip("."):
        calls.append(lambda: client.delete("c", name))
    for call in calls:
        with pytest.raises(InputError, match="has the name"):
            call()


def test_one_name_is_a_list_of_one_and_not_of_its_letters() -> None:
    assert (catalog.index("c", "photos/").body or {})["sources"] == ["photos/"]
    assert (searches.ask("c", "what?", image_ids="a.jpg").body or {})["image_ids"] == ["a.jpg"]
    assert searches.rerank("red", b"bytes") == searches.rerank("red", [b"bytes"])
    with pytest.raises(InputError, match="bytes of its file"):
        searches.rerank("red", ["beach.jpg"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "filter", [{"a": float("nan")}, {"a": "\ud800"}, {"a": object()}], ids=("nan", "surrogate", "object")
)
def test_what_json_cannot_say_is_the_callers_fault(filter: dict[str, Any]) -> None:
    client = told({})
    with pytest.raises(InputError, match="cannot be sent as JSON"):
        client.search("c", "red", filter=filter)
    with pytest.raises(InputError, match="cannot be sent as JSON"):
        list(client.images("c", filter=filter))


def test_a_key_may_have_any_letters_that_can_be_printed() -> None:
    heard: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        heard.extend(value for name, value in request.headers.raw if name.lower() == b"authorization")
        return httpx.Response(200, json={"items": []})

    Client(HOST, "schlüssel", transport=httpx.MockTransport(answer)).collections()
    assert heard == ["Bearer schlüssel".encode()]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_no_proxy_hears_what_is_said_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, kind: type[Client], host: str
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "")
    http = kind(f"http://{host}:1", "a key")._http
    assert http._transport_for_url(http.base_url) is http._transport
    http = kind("http://sightline.example", "a key")._http
    assert http._transport_for_url(http.base_url) is not http._transport, "elsewhere proxies are asked"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://x", "http://", "http://me:sesame@x", "http://x?a=b", "http://[::1",
     "http://x:port", "http://x:99999", "http://x\n"],
)  # fmt: skip
def test_what_is_no_address_is_said_without_what_it_may_hold(url: str) -> None:
    with pytest.raises(InputError) as raised:
        Client(url)
    assert "sesame" not in str(raised.value)


def test_a_client_loads_no_model_and_no_server() -> None:
    program = "import sys, sightline.client.http; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"torch", "numpy", "fastapi", "sqlalchemy", "pydantic", "faiss", "PIL"})
    assert "httpx" in loaded


def test_jobs_end_in_the_states_of_the_catalog() -> None:
    assert ENDED == records.ENDED


def test_the_programs_of_its_page_run(
    filled: TestClient, services: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("red", "blue"):
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(png(name))
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.S)
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.05):
            services.indexer.run_pending()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        with running(filled.app) as url:  # type: ignore[arg-type]
            text = "".join(programs).replace("http://127.0.0.1:8000", url)
            text = text.replace('Path("photos")', f"Path({str(tmp_path / 'photos')!r})")
            exec(compile(text, "docs/client.md", "exec"), {})
    finally:
        done.set()
        worker.join(60)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[:5]] == ["1", "2", "3", "4", "5"]
    assert printed[5:] == [
        "Collection 'pictures' has no image 'nowhere.jpg'.",
        "done 2",
        "['red.jpg', 'blue.jpg']",
    ]
