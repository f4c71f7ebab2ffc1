"""A search as server-sent events: ITC's answer at once, then the order as ITM makes it, and the result."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.types import Message, Scope

from sightline.api.app import create_app
from sightline.api.search_events import SearchEvents
from sightline.api.server import running
from sightline.api.streaming import Event
from sightline.blip.toy import ToyEncoder
from sightline.errors import UnavailableError
from sightline.imaging import IsolatedDecoder
from sightline.records import SearchHit, SearchResponse
from sightline.serving.models import ModelProvider
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.api.conftest import nowhere
from tests.api.installation import SHADES, MakeClient, problem
from tests.api.test_api_ask import events, read

SEARCH = "/v1/collections/pictures/search"
STREAM = f"{SEARCH}?stream=1"
WAIT = 60
TWO_BATCHES = {"text": "red blue", "deadline_ms": 3_600_000.0}
"""The first batch under a deadline has 4 candidates, and there are 6."""


def without_times(answer: Any) -> Any:
    """An answer without what differs from one search to the next."""
    return {name: value for name, value in answer.items() if name != "timings"}


def search(client: TestClient, **body: Any) -> Any:
    answer = client.post(SEARCH, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"limit": 2, "offset": 1},
        {"candidates": 2, "limit": 6},
        {"min_probability": 0.5},
        {"filter": {"must": [{"field": "metadata.length", "equals": 4}]}},
        {"precision": "exact", "score": "itm"},
        {"texts": False, "effort": "quick"},
        {"matcher": {"instruction": "is it green?"}},
        {"rerank": False},
        {"score": "itc"},
        {"limit": 6, "deadline_ms": 1e-6},
    ],
    ids=str,
)
def test_the_result_is_the_answer_without_a_stream_and_itcs_comes_before_it(
    library: TestClient, body: dict[str, Any]
) -> None:
    asked = {"text": "red blue"} | body
    told = events(library.post(STREAM, json=asked))
    names = [name for name, _ in told]
    assert (names[0], names[-1], set(names[1:-1]) <= {"order"}) == ("candidates", "result", True)
    first, last = told[0][1], told[-1][1]
    assert without_times(last) == without_times(search(library, **asked))
    only = {"text", "limit", "offset", "filter", "texts"} & asked.keys()
    by_itc = search(library, **{name: asked[name] for name in only}, score="itc")
    for one in (first, by_itc):
        one.pop("reached")  # who looks at nothing may not know how many layers there are
        for hit in one["results"]:
            hit.pop("found_by")  # words bring nothing where nothing is judged
            hit.pop("matched_text")
    if "candidates" not in body:
        assert without_times(first) == without_times(by_itc)
    assert first["scored"] == 0
    assert {hit["itm_logit"] for hit in first["results"]} == {None}


class Held(ToyEncoder):
    """Judges a batch for each time that it is let, and may fail."""

    def __init__(self) -> None:
        self.__dict__["look"] = None  # it judges whole pairs only
        self.let = threading.Semaphore(0)
        self.judged = 0
        self.fails_at = 0

    def match(self, texts: Any, patches: Any, precision: Any = "fast") -> Any:
        assert self.let.acquire(timeout=WAIT)
        self.judged += 1
        if self.judged == self.fails_at:
            raise UnavailableError("The model is tired.")
        return super().match(texts, patches, precision)


class HeldModels(ModelProvider):
    """The held toy under every name."""

    def __init__(self) -> None:
        super().__init__()
        self.toy = Held()

    def load(self, model: str, revision: str | None = None) -> Any:
        return self.toy


@pytest.fixture
def held(filled: TestClient, settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[Installation]:
    models = HeldModels()
    with open_installation(settings, models=models, send=nowhere, decoder=api_decoder) as services:
        yield services
        models.toy.let.release(1000)


def toy_of(services: Installation) -> Held:
    assert isinstance(services.models, HeldModels)
    return services.models.toy


class Reading:
    """Events of an answer, one by one, as they arrive."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, Any]:
        lines = []
        for line in self._lines:
            if not line and lines:
                return read("\n".join(lines))[0]
            if line and not line.startswith(":"):
                lines.append(line)
        raise AssertionError("the stream has ended")


@contextmanager
def asking(url: str, **body: Any) -> Iterator[Reading]:
    with httpx.stream("POST", f"{url}{STREAM}", json=body, timeout=WAIT) as answer:
        assert answer.status_code == 200
        yield Reading(answer)


def until_nobody_asks(services: Installation) -> None:
    end = time.monotonic() + WAIT
    while services.scheduler.figures().requests and time.monotonic() < end:
        time.sleep(0.01)
    assert services.scheduler.figures().requests == 0


def test_the_first_event_comes_before_itm_judged_anything_and_the_order_as_it_is_made(
    held: Installation, library: TestClient
) -> None:
    toy = toy_of(held)
    logits = {hit["id"]: hit["itm_logit"] for hit in search(library, text="red blue")["results"]}
    with (
        running(create_app(held.api_parts)) as url,
        asking(url, limit=3, **TWO_BATCHES) as told,
    ):
        name, first = told.next()
        assert (name, toy.judged) == ("candidates", 0)
        toy.let.release()
        name, order = told.next()
        assert (name, order["scored"], order["of"], toy.judged) == ("order", 4, len(SHADES), 1)
        places = order["order"]
        assert [place["rank"] for place in places] == [1, 2, 3]
        scores = [place["score"] for place in places]
        assert scores == sorted(scores, reverse=True)
        assert {place["id"]: place["itm_logit"] for place in places}.items() <= logits.items()
        known = {hit["id"] for hit in first["results"]}
        new = [hit["id"] for hit in order["hits"]]
        assert new == [place["id"] for place in places if place["id"] not in known], (
            "a hit is told whole once"
        )
        assert all(hit["thumbnail_url"] for hit in order["hits"])
        toy.let.release()
        while (event := told.next())[0] == "order":
            pass
    assert event[0] == "result"
    plain = without_times(search(library, limit=3, **TWO_BATCHES))
    assert without_times(event[1]) == plain | {"reached": []}, "the held toy has no layers to stop between"


def test_what_is_not_scored_yet_is_no_hit_above_a_least_probability(held: Installation) -> None:
    toy = toy_of(held)
    with running(create_app(held.api_parts)) as url, asking(url, min_probability=0.0, **TWO_BATCHES) as told:
        assert len(told.next()[1]["results"]) == len(SHADES)
        toy.let.release()
        assert len(told.next()[1]["order"]) == 4
        toy.let.release()


async def stalled(services: Installation) -> list[bytes]:
    """What came to a client that reads the first event and nothing more, until ITM has judged everything."""
    body, sent = json.dumps(TWO_BATCHES).encode(), list[bytes]()
    asked: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    reads_on: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        return asked.pop() if asked else await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        if b"candidates" in sent[-1]:
            toy_of(services).let.release(1000)
            await asyncio.wait_for(asyncio.shield(reads_on), WAIT)

    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": SEARCH, "raw_path": SEARCH.encode(), "root_path": "",
        "query_string": b"stream=1", "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }  # fmt: skip
    stream = asyncio.create_task(create_app(services.api_parts)(scope, receive, send))
    async with asyncio.timeout(WAIT):
        await asyncio.to_thread(until_nobody_asks_after, services, 2)
        assert not reads_on.done()
        reads_on.set_result(None)
        await stream
    return sent


def until_nobody_asks_after(services: Installation, batches: int) -> None:
    end = time.monotonic() + WAIT
    while toy_of(services).judged < batches and time.monotonic() < end:
        time.sleep(0.01)
    until_nobody_asks(services)


def test_who_reads_slowly_holds_neither_the_model_nor_a_place_at_it_and_one_order_waits_at_most(
    held: Installation,
) -> None:
    told = read(b"".join(asyncio.run(stalled(held))).decode())
    assert [name for name, _ in told] == ["candidates", "order", "result"]
    assert told[1][1]["scored"] == 4, "it was pushed while the first event was on its way"
    assert told[-1][1]["scored"] == len(SHADES)


class Slate:
    """Where events are pushed to, and read when the test says so."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.is_read = True

    def push(self, event: Event) -> None:
        self.names.append(event.name)


class Words:
    """A shape whose making takes some of the clock's time."""

    def __init__(self, takes: float) -> None:
        self.now, self._takes = 0.0, takes

    def candidates(self, response: SearchResponse) -> str:
        return ""

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> str:
        self.now += self._takes
        return ""


@pytest.mark.parametrize(("takes", "told"), [(0.0, 4), (0.05, 2)])
def test_orders_are_told_five_times_a_second_and_take_a_tenth_of_the_time(takes: float, told: int) -> None:
    slate, shape = Slate(), Words(takes)
    watch = SearchEvents(slate, shape, 0.25, lambda: shape.now)
    for tick in range(16):
        shape.now = max(shape.now, tick / 16)
        if watch.is_due():
            watch.order([], 0, 0)
    assert slate.names == ["order"] * told
    shape.now = 9.0
    slate.is_read = False
    assert not watch.is_due(), "who has not read the last one gets no other"


def test_who_hangs_up_is_computed_for_no_further_and_leaves_the_queue(held: Installation) -> None:
    toy = toy_of(held)
    app = create_app(held.api_parts)
    with running(app) as url:
        with asking(url, **TWO_BATCHES) as told:
            assert told.next()[0] == "candidates"
            assert (held.scheduler.figures().requests, app.state.followers.taken) == (1, 1)
        end = time.monotonic() + WAIT
        while app.state.followers.taken and time.monotonic() < end:
            time.sleep(0.01)
        toy.let.release(1000)
        until_nobody_asks(held)
    assert app.state.followers.taken == 0
    assert toy.judged <= 1, "the second batch was never computed"


def test_an_error_in_the_middle_is_the_last_event(held: Installation) -> None:
    toy = toy_of(held)
    toy.let.release(1000)
    toy.fails_at = 2
    answer = TestClient(create_app(held.api_parts)).post(STREAM, json=TWO_BATCHES)
    told = events(answer)
    assert (told[0][0], told[-1][0]) == ("candidates", "error")
    assert told[-1][1]["request_id"] == answer.headers["x-request-id"]
    assert (told[-1][1]["status"], told[-1][1]["detail"]) == (503, "The model is tired.")
    assert held.scheduler.figures().requests == 0


def test_what_goes_wrong_before_the_first_event_is_a_problem_with_its_status(library: TestClient) -> None:
    for body, status in (
        ({"text": "a", "filter": {"mst": []}}, 422),
        ({"text": "a", "candidates": 1001}, 422),
        ({"text": "a", "matcher": {"model": "someone/else"}}, 422),
        ({"text": "a", "effort": "some"}, 422),
    ):
        plain, streamed = (problem(library.post(path, json=body), status) for path in (SEARCH, STREAM))
        assert plain | {"request_id": ""} == streamed | {"request_id": ""}
    nowhere_ = STREAM.replace("pictures", "nothing")
    problem(library.post(nowhere_, json={"text": "a"}), 404)
    assert problem(library.post(f"{SEARCH}?stream=odd", json={"text": "a"}), 422)["errors"]


def test_a_header_alone_makes_no_stream(library: TestClient) -> None:
    answer = library.post(SEARCH, json={"text": "a"}, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"] == "application/json"


def test_a_stream_has_a_place_among_those_who_follow_jobs(make_client: MakeClient) -> None:
    client = make_client(max_followers=0)
    client.post("/v1/collections", json={"name": "pictures"})
    refused = client.post(STREAM, json={"text": "red"})
    assert problem(refused, 503)["type"].endswith(":overloaded")
    assert client.post(SEARCH, json={"text": "red"}).status_code == 200


@pytest.mark.parametrize("effort", ["full", "auto", "quick", None])
def test_an_effort_is_taken_and_what_was_done_is_told(library: TestClient, effort: str | None) -> None:
    answer = search(library, text="red blue", effort=effort)
    assert answer["effort"] in ("full", "auto", "quick")
    assert all(set(one) == {"layers", "of", "candidates"} for one in answer["reached"])
    assert json.dumps(answer["reached"]).count("layers") == len(answer["reached"])
