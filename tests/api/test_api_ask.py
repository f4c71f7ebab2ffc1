"""Questions over HTTP: in one document or as server-sent events, called off in time."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from torch import Tensor

from sightline.api.app import create_app
from sightline.api.server import running
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.sampling import Answer, Sampling
from sightline.blip.toy_words import ToyWriter
from sightline.errors import UnavailableError
from sightline.imaging import IsolatedDecoder
from sightline.serving.models import ModelProvider
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.api.conftest import nowhere
from tests.api.installation import SHADES, png, problem

ASK = "/v1/collections/pictures/ask"
STREAM = {"Accept": "text/event-stream"}
HOW_MANY = {"question": "how many red?", "task": "counting"}
RED = {"red": "4", "blue": "0", "half": "2", "purple": "0", "green": "0", "white": "0"}
WAIT = 60


def events(answer: httpx.Response) -> list[tuple[str, Any]]:
    """Name and data of each event."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    return read(answer.text)


def read(text: str) -> list[tuple[str, Any]]:
    blocks = [block.splitlines() for block in text.replace("\r\n", "\n").split("\n\n")]
    fields = [dict(line.split(": ", 1) for line in block if line) for block in blocks if block]
    return [(one["event"], json.loads(one["data"])) for one in fields if "event" in one]


def test_pictures_are_asked_about_by_their_ids(library: TestClient) -> None:
    names = list(SHADES)
    answer = library.post(ASK, json=HOW_MANY | {"image_ids": names})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [(one["id"], one["answer"]) for one in body["results"]] == [(name, RED[name]) for name in names]
    assert (body["model"], body["prompt"]) == ("toy", "Question: how many red? Answer with a number:")
    first = body["results"][0]
    assert (first["probability"], first["match_probability"], first["problem"]) == (0.75, None, None)
    assert (first["width"], first["height"], first["rank"]) == (8, 8, 1)
    assert library.get(first["thumbnail_url"]).status_code == 200


def test_the_best_of_a_search_are_asked_about_and_keep_its_probability(library: TestClient) -> None:
    found = library.post("/v1/collections/pictures/search", json={"text": "red", "limit": 3}).json()[
        "results"
    ]
    body = library.post(ASK, json=HOW_MANY | {"text": "red", "limit": 3}).json()
    for name in ("id", "match_probability", "rank", "file_url"):
        assert [one[name] for one in body["results"]] == [hit[name] for hit in found]
    assert [one["answer"] for one in body["results"]] == [RED[hit["id"]] for hit in found]
    only = {"field": "id", "equals": "green"}
    [one] = library.post(ASK, json=HOW_MANY | {"text": "red", "filter": only}).json()["results"]
    assert one["id"] == "green"


def test_options_come_back_with_their_probabilities(library: TestClient) -> None:
    choice = {"question": "what colour?", "task": "multiple_choice", "wording": "plain"}
    body = library.post(ASK, json=choice | {"options": ["red", "green"], "image_ids": ["green"]}).json()
    [one] = body["results"]
    assert one["answer"] == "green"
    assert [option["text"] for option in one["options"]] == ["red", "green"]
    assert sum(option["probability"] for option in one["options"]) == pytest.approx(1)
    assert one["probability"] == one["options"][1]["probability"]


def test_a_stream_has_the_same_answers_one_by_one(library: TestClient) -> None:
    asked = HOW_MANY | {"image_ids": list(SHADES)}
    whole = library.post(ASK, json=asked).json()
    told = events(library.post(ASK, json=asked, headers=STREAM))
    assert told[0] == ("begun", {"model": "toy", "prompt": whole["prompt"], "count": len(SHADES)})
    assert [data for name, data in told if name == "answer"] == whole["results"]
    assert told[-1] == ("done", {"degraded": []})


def test_what_goes_wrong_before_the_first_event_is_a_problem_with_its_status(library: TestClient) -> None:
    for asked, status in (
        (HOW_MANY | {"image_ids": ["nothing"]}, 404),
        (HOW_MANY | {"image_ids": ["red"], "wording": "odd"}, 422),
        (HOW_MANY | {"image_ids": ["red"], "model": "Salesforce/blip2-opt-2.7b"}, 422),
    ):
        assert problem(library.post(ASK, json=asked), status) | {"request_id": ""} == problem(
            library.post(ASK, json=asked, headers=STREAM), status
        ) | {"request_id": ""}


@pytest.mark.parametrize(
    ("asked", "pointer", "said"),
    [
        ({}, None, "one of the two"),
        ({"text": "red", "image_ids": ["red"]}, None, "one of the two"),
        ({"image_ids": ["red"], "filter": {"field": "id", "equals": "blue"}}, None, "of a search"),
        ({"text": " "}, "#/text", ""),
        ({"image_ids": [""]}, "#/image_ids/0", ""),
        ({"image_ids": ["red"] * 101}, "#/image_ids", "100"),
        ({"text": "red", "limit": 101}, "#/limit", "100"),
        ({"text": "red", "limit": 0}, "#/limit", ""),
        ({"text": "red", "task": "dance"}, "#/task", "short_answer"),
        ({"text": "red", "task": "yes_no", "options": ["a", "b"]}, None, "takes no options"),
        ({"text": "red", "task": "multiple_choice", "options": ["a"]}, None, "2 to 50 options"),
        ({"text": "red", "task": "multiple_choice", "options": ["a"] * 51}, "#/options", "50"),
        ({"text": "red", "question": "x" * 2_001}, "#/question", "2000"),
        ({"text": "red", "question": " "}, None, "question is empty"),
        ({"text": "red", "sampling": "guess"}, "#/sampling", ""),
        ({"text": "red", "deadline_ms": 0}, "#/deadline_ms", ""),
        ({"text": "red", "wording": 99}, None, "no wording 99"),
        ({"text": "red", "odd": 1}, "#/odd", "no such field"),
    ],
)
def test_what_cannot_be_asked_is_refused_where_it_stands(
    library: TestClient, asked: dict[str, Any], pointer: str | None, said: str
) -> None:
    body = problem(library.post(ASK, json=HOW_MANY | asked), 422)
    if pointer is not None:
        assert body["errors"][0]["pointer"] == pointer
    assert said in body["detail"]


def test_only_served_models_answer(library: TestClient) -> None:
    asked = HOW_MANY | {"image_ids": ["red"]}
    assert library.post(ASK, json=asked | {"model": "toy"}).status_code == 200
    assert "not served" in problem(library.post(ASK, json=asked | {"model": "someone/else"}), 422)["detail"]


def test_no_model_is_loaded_that_nobody_set_and_what_is_set_is_served(
    settings: Settings, api_decoder: IsolatedDecoder, tmp_path: Path
) -> None:
    folder = str(write_random_checkpoint(tmp_path / "model"))
    bare = settings.model_copy(update={"model": replace(settings.model, name=folder)})
    writers = {
        "answerer": replace(settings.answerer, model="toy"),
        "captioner": replace(settings.captioner, model="toy"),
    }
    question = HOW_MANY | {"text": "red"}
    pictures = {"documents": [{"image": f"data:image/png;base64,{b64encode(png('red')).decode()}"}]}
    for changed, status in ((bare, 422), (bare.model_copy(update=writers), 200)):
        with open_installation(changed, send=nowhere, decoder=api_decoder) as services:
            services.collections.create("others")
            client = TestClient(create_app(services.api_parts))
            asked = client.post("/v1/collections/others/ask", json=question)
            described = client.post("/v1/captions", json=pictures)
            assert (asked.status_code, described.status_code) == (status, status)
            begun = [
                client.post(f"/v1/collections/others/{kind}", json={}) for kind in ("captions", "capfilt")
            ]
            assert [one.status_code for one in begun] == [202 if status == 200 else 422] * 2
            own_texts_only = client.post("/v1/collections/others/capfilt", json={"n": 0})
            assert own_texts_only.status_code == 202, "needs no captioner"
        if status == 422:
            assert "SIGHTLINE_ANSWERER__MODEL" in problem(asked, 422)["detail"]
            for one in (described, *begun):
                assert "SIGHTLINE_CAPTIONER__MODEL" in problem(one, 422)["detail"]


def test_a_picture_that_cannot_be_seen_costs_its_neighbours_nothing_and_names_no_file(
    filled: TestClient, services: Installation
) -> None:
    for file in services.settings.segments_folder.glob("*.segment.safetensors"):
        file.unlink()
    gone = services.catalog.image("pictures", "half").sha256
    services.blobs.erase(gone, lambda: False)
    public = replace(services.settings.api, host="0.0.0.0", insecure=True, show_details=False)
    stranger = TestClient(create_app(replace(services.api_parts, settings=public)))
    for client, is_told in ((filled, True), (stranger, False)):
        asked = HOW_MANY | {"image_ids": ["red", "half", "blue"]}
        results = client.post(ASK, json=asked).json()["results"]
        assert [one["answer"] for one in results] == ["4", None, "0"]
        assert results[1]["reason"] == "unreadable"
        assert (gone in results[1]["problem"]) is is_told
        assert ("log has the reason." in results[1]["problem"]) is not is_told


class Gated(ToyWriter):
    """Answers when it is let; then it may fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0
        self.fails_at = 0

    def answer(self, features: Tensor, prompts: Sequence[str], sampling: Sampling) -> list[Answer]:
        self.asked += 1
        assert self.gate.wait(WAIT)
        if self.asked == self.fails_at:
            raise UnavailableError("The model is tired.")
        return super().answer(features, prompts, sampling)


class GatedModels(ModelProvider):
    """The gated writer answers under every name."""

    def __init__(self) -> None:
        super().__init__()
        self.writer = Gated()

    def answerer(self, model: str, revision: str | None = None) -> Gated:
        return self.writer


@pytest.fixture
def gated(filled: TestClient, settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[Installation]:
    models = GatedModels()
    with open_installation(settings, models=models, send=nowhere, decoder=api_decoder) as services:
        yield services
        models.writer.gate.set()


def writer_of(services: Installation) -> Gated:
    assert isinstance(services.models, GatedModels)
    return services.models.writer


def test_an_error_in_the_middle_is_the_last_event(gated: Installation) -> None:
    writer = writer_of(gated)
    writer.gate.set()
    writer.fails_at = 2
    client = TestClient(create_app(gated.api_parts))
    told = events(client.post(ASK, json=HOW_MANY | {"image_ids": list(SHADES)}, headers=STREAM))
    assert [name for name, _ in told] == ["begun", *["answer"] * 4, "error"]
    assert (told[-1][1]["status"], told[-1][1]["detail"]) == (503, "The model is tired.")
    assert gated.scheduler.figures().requests == 0


def test_who_hangs_up_is_answered_no_further_and_leaves_the_queue(gated: Installation) -> None:
    writer = writer_of(gated)
    with running(create_app(gated.api_parts)) as url:
        asked = HOW_MANY | {"image_ids": list(SHADES)}
        with httpx.stream("POST", f"{url}{ASK}", json=asked, headers=STREAM, timeout=WAIT) as answer:
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith("event")) == "event: begun"
            assert gated.scheduler.figures().requests == 1
        writer.gate.set()
        end = time.monotonic() + WAIT
        while gated.scheduler.figures().requests and time.monotonic() < end:
            time.sleep(0.01)
        assert gated.scheduler.figures().requests == 0
        assert writer.asked <= 1, "the second batch was never computed"


def test_answers_come_while_others_are_computed(gated: Installation) -> None:
    writer = writer_of(gated)
    with running(create_app(gated.api_parts)) as url:
        asked = HOW_MANY | {"image_ids": list(SHADES)}
        with httpx.stream("POST", f"{url}{ASK}", json=asked, headers=STREAM, timeout=WAIT) as answer:
            names = (line for line in answer.iter_lines() if line.startswith("event"))
            assert next(names) == "event: begun"
            writer.gate.set()
            assert next(names) == "event: answer"
            assert [*names] == ["event: answer"] * 5 + ["event: done"]


def test_a_search_is_ordered_by_an_instruction_over_http(library: TestClient) -> None:
    search = "/v1/collections/pictures/search"
    instruction = {"instruction": "is it green?"}
    [first, *others] = library.post(search, json={"text": "red", "matcher": instruction}).json()["results"]
    assert first["id"] == "green"
    assert first["instruction_probability"] > 0.9 > 0.1 > others[0]["instruction_probability"]
    assert first["match_probability"] is None
    plain = library.post(search, json={"text": "red"}).json()["results"]
    assert {hit["instruction_probability"] for hit in plain} == {None}
    other = {"instruction": "is it green?", "model": "someone/else"}
    assert "not served" in problem(library.post(search, json={"text": "a", "matcher": other}), 422)["detail"]
    empty = problem(library.post(search, json={"text": "a", "matcher": {"instruction": " "}}), 422)
    assert empty["errors"][0]["pointer"] == "#/matcher/instruction"
    contradiction = {"text": "a", "matcher": {}, "rerank": False}
    assert "rerank" in problem(library.post(search, json=contradiction), 422)["detail"]
