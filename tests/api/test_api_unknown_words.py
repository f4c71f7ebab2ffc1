"""Over HTTP and on the page: what the model does not know is named, and nothing is ranked by nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.blip.calibration import PLAIN
from sightline.blip.known_words import WordsRead
from sightline.blip.protocols import RetrievalModel
from sightline.blip.toy import COLOURS, ToyEncoder, words
from sightline.imaging import IsolatedDecoder
from sightline.serving.models import ModelProvider
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.api.conftest import nowhere
from tests.api.test_api_ask import read

SEARCH = "/v1/collections/pictures/search"
NOTE = "This model knows colours only."


class ColouredToy(ToyEncoder):
    """The toy, which knows colours, and says so."""

    calibration = PLAIN
    note = NOTE

    def words_read(self, text: str) -> WordsRead:
        found = words(text)
        unknown = tuple(word for word in found if word not in COLOURS)
        return WordsRead(unknown, len(found) - len(unknown))


class ColouredModels(ModelProvider):
    """One model under every name."""

    def load(self, model: str, revision: str | None = None) -> RetrievalModel:
        return ColouredToy()


@pytest.fixture
def coloured(filled: TestClient, settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[TestClient]:
    models = ColouredModels()
    with (
        open_installation(settings, models=models, send=nowhere, decoder=api_decoder) as services,
        TestClient(create_app(services.api_parts)) as client,
    ):
        yield client


def test_an_answer_names_unknown_words_and_is_empty_where_it_knows_none(coloured: TestClient) -> None:
    known, partly, nothing = (
        coloured.post(SEARCH, json={"text": text, "texts": False}).json()
        for text in ("red", "red zebra", "zebra")
    )
    assert (known["unknown_words"], known["notes"]) == ([], [NOTE])
    assert (partly["unknown_words"], len(partly["results"])) == (["zebra"], len(known["results"]))
    assert (nothing["unknown_words"], nothing["results"], nothing["scored"]) == (["zebra"], [], 0)
    assert nothing["notes"][0].startswith("The model does not know the word zebra")


def test_a_stream_says_the_same_in_its_last_event(coloured: TestClient) -> None:
    answer = coloured.post(f"{SEARCH}?stream=1", json={"text": "zebra", "texts": False})
    assert answer.status_code == 200
    [(name, told)] = read(answer.text)
    assert (name, told["unknown_words"], told["results"]) == ("result", ["zebra"], [])


def test_a_rerank_says_it_too(coloured: TestClient) -> None:
    document = {"id": "red", "collection": "pictures"}
    partly, nothing = (
        coloured.post("/v1/rerank", json={"query": text, "documents": [document]}).json()
        for text in ("red zebra", "zebra")
    )
    assert (partly["unknown_words"], len(partly["results"])) == (["zebra"], 1)
    assert "match_probability_raw" in partly["results"][0]
    assert (nothing["unknown_words"], nothing["results"]) == (["zebra"], [])


@pytest.mark.parametrize("headers", [{}, {"X-Sightline-Part": "results"}, {"X-Sightline-Part": "events"}])
def test_the_page_says_what_it_does_not_know(coloured: TestClient, headers: dict[str, str]) -> None:
    nothing = coloured.get("/", params={"q": "zebra<b>", "collection": "pictures"}, headers=headers)
    assert nothing.status_code == 200
    assert "I do not know: zebra, b." in _html(nothing.text)
    partly = coloured.get("/", params={"q": "red zebra", "collection": "pictures"}, headers=headers)
    assert "I do not know: zebra" in _html(partly.text)
    assert 'class="grid' in _html(partly.text)


def test_a_score_of_unknown_words_only_is_refused_and_of_some_named(coloured: TestClient) -> None:
    document = {"id": "red", "collection": "pictures"}
    refused = coloured.post("/score", json={"queries": ["red", "xyzzy"], "documents": [document] * 2})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("Text 1: The model does not know the word")
    answer = coloured.post("/score", json={"queries": ["red", "red xyzzy"], "documents": [document] * 2})
    assert answer.json()["unknown_words"] == ["xyzzy"]
    assert answer.json()["notes"] == [NOTE]
    assert len(answer.json()["data"]) == 2


def _html(text: str) -> str:
    """The part that the last event tells, or the page itself."""
    told = [data for name, data in read(text) if name == "result"] if text.startswith("event:") else []
    return told[-1]["html"] if told else text


def test_the_page_of_a_demo_collection_says_what_the_model_is(
    filled: TestClient, services: Installation
) -> None:
    services.collections.create("drawn", "demo")
    page = filled.get("/", params={"collection": "drawn"}).text
    assert '<p class="model-note">This is the demo model' in page
    assert 'data-note="This is the demo model' in page, "for the card that says what was added"
    assert "This is the demo model" not in filled.get("/", params={"collection": "pictures"}).text
