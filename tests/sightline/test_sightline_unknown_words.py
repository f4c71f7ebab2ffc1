"""Words that the model does not know are named in every answer; where it knows none, nothing is ranked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sightline.blip.calibration import Calibration
from sightline.blip.known_words import WordsRead
from sightline.blip.protocols import RetrievalModel
from sightline.blip.toy import COLOURS, PLACES, ToyEncoder, words
from sightline.queries import Clause, Query
from sightline.records import SearchHit, SearchRequest, SearchResponse
from sightline.rerank_records import RerankRequest, StoredImage
from sightline.searching.reading import SILENT
from sightline.serving.models import ModelProvider
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, save, toy_settings

NOTE = "This model knows colours and places only."


class ColouredToy(ToyEncoder):
    """The toy, which knows colours and places, and says so."""

    calibration = Calibration("platt", 1.0, 0.0, unknown=-4.0)
    note = NOTE

    def words_read(self, text: str) -> WordsRead:
        found = words(text)
        known = [word for word in found if word in COLOURS or word in PLACES]
        unknown = [word for word in found if word not in known and word != "a"]
        return WordsRead(tuple(dict.fromkeys(unknown)), len(known))


class ColouredModels(ModelProvider):
    """One model under every name."""

    def load(self, model: str, revision: str | None = None) -> RetrievalModel:
        return ColouredToy()


class Told:
    """Keeps what a search is told of itself."""

    def __init__(self) -> None:
        self.candidates_told: list[SearchResponse] = []

    def candidates(self, response: SearchResponse) -> None:
        self.candidates_told.append(response)

    def is_due(self) -> bool:
        return False

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> None:
        raise AssertionError("nobody asked for the order")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("pictures")
    rows = "".join(
        f'{{"id": "{name}.png", "uri": "{save(folder, name, name)}", "caption": "{caption}"}}\n'
        for name, caption in (("red", "un perro"), ("green", "a gato"), ("blue", ""))
    )
    (folder / "manifest.jsonl").write_text(rows)
    settings = toy_settings(tmp_path_factory.mktemp("data"))
    with open_installation(settings, models=ColouredModels(), inline=True) as services:
        services.collections.create("pictures")
        services.indexer.wait(services.indexer.index([str(folder / "manifest.jsonl")], "pictures").id)
        yield services


def ask(services: Installation, text: str, *, texts: bool = False) -> SearchResponse:
    return services.search.find(SearchRequest("pictures", text, texts=texts))


def test_a_text_that_is_known_has_no_unknown_words_and_the_models_note(services: Installation) -> None:
    found = ask(services, "a red left")
    assert (found.unknown_words, found.notes, found.scored) == ((), (NOTE,), 3)


def test_an_unknown_word_is_named_and_lowers_every_probability(services: Installation) -> None:
    known, found = ask(services, "red"), ask(services, "a red elephant, elephant zebra")
    assert found.unknown_words == ("elephant", "zebra")
    before = {hit.id: hit for hit in known.results}
    for hit in found.results:  # by the toy's formulas the logits are those of "red"
        raw, said = hit.match_probability_raw, hit.match_probability
        assert raw is not None
        assert said is not None
        assert raw == pytest.approx(before[hit.id].match_probability, abs=1e-6)
        assert math.log(raw / (1 - raw)) - math.log(said / (1 - said)) == pytest.approx(4)


def test_nothing_is_ranked_where_no_word_is_known(services: Installation) -> None:
    found, told = ask(services, "perro 狗"), Told()
    assert (found.results, found.scored, found.unknown_words) == ((), 0, ("perro", "狗"))
    assert found.notes[0].startswith("The model knows none of the words perro, 狗")
    services.search.find(SearchRequest("pictures", "perro", texts=False), told)
    assert told.candidates_told == []


def test_pictures_whose_captions_have_the_words_are_found_all_the_same(services: Installation) -> None:
    found = ask(services, "perro", texts=True)
    assert [(hit.id, hit.match_probability, hit.matched_text) for hit in found.results] == [
        ("red.png", None, "un perro")
    ]
    likely = SearchRequest("pictures", "perro", min_probability=0.0)
    assert services.search.find(likely).results == ()


def test_words_of_grammar_bring_no_pictures_where_nothing_else_is_known(services: Installation) -> None:
    """A caption of the collection has "a"; "a red" may be found by it, "a zebra" may not."""
    assert {hit.id for hit in ask(services, "a red", texts=True).results if hit.found_by == "both"}
    assert ask(services, "a zebra", texts=True).results == ()
    several = Query(all=(Clause("a zebra"),), none=(Clause("red"),))
    assert services.search.find(SearchRequest("pictures", query=several)).results == ()
    both = ask(services, "a zebra gato", texts=True)
    assert [(hit.id, hit.matched_text) for hit in both.results] == [("green.png", "a gato")]


@pytest.mark.parametrize("text", ["!!!", "…", " — ", "+", "\u200b", "\u0301 $"])
def test_nothing_is_ranked_by_a_text_without_words(services: Installation, text: str) -> None:
    found = ask(services, text, texts=True)
    assert (found.results, found.scored, found.unknown_words) == ((), 0, ())
    assert found.notes == (SILENT, NOTE)
    counted = SearchRequest("pictures", text, min_probability=0, exact=True)
    assert services.search.find(counted).total == 0
    documents = (StoredImage("pictures", "red.png"),)
    assert services.documents.rerank(RerankRequest(text, documents)).results == ()
    some = SearchRequest("pictures", query=Query(all=(Clause("red"),), none=(Clause("!"),)))
    assert services.search.find(some).scored == 3


def test_what_a_word_contributed_is_judged_as_a_search_without_it(services: Installation) -> None:
    explained = services.search.explain("pictures", "red.png", "left zebra red")
    assert (explained.unknown_words, explained.notes) == (("zebra",), (NOTE,))
    for word, rest in zip(explained.explanation.words, ("zebra red", "left red", "left zebra"), strict=True):
        (alone,) = (hit for hit in ask(services, rest).results if hit.id == "red.png")
        assert word.probability_without == pytest.approx(alone.match_probability, abs=1e-6)


def test_an_order_of_given_pictures_says_the_same(services: Installation) -> None:
    documents = tuple(StoredImage("pictures", f"{name}.png") for name in ("red", "blue"))
    known, partly, nothing = (
        services.documents.rerank(RerankRequest(text, documents)) for text in ("red", "red zebra", "zebra")
    )
    assert (known.unknown_words, partly.unknown_words) == ((), ("zebra",))
    assert [one.index for one in known.results] == [one.index for one in partly.results] == [0, 1]
    assert partly.results[0].match_probability < partly.results[0].match_probability_raw
    assert (nothing.results, nothing.unknown_words) == ((), ("zebra",))
    assert nothing.notes[0].startswith("The model does not know the word zebra")


def test_the_command_line_says_what_is_not_known_and_what_the_demo_model_is(
    sightline: Run, tmp_path: Path
) -> None:
    save(tmp_path, "red", "red")
    indexed = sightline("index", str(tmp_path), "-c", "drawn", "--model", "demo")
    assert "This is the demo model" in indexed.stderr
    nothing = sightline("search", "perro", "-c", "drawn")
    assert (nothing.code, nothing.stdout) == (0, "Nothing found.\n")
    assert "does not know the word perro" in nothing.stderr
    partly = sightline("search", "a red elephant", "-c", "drawn")
    assert "The model does not know: elephant." in partly.stderr
    answer = sightline("search", "a red elephant", "-c", "drawn", "--json").answer
    assert answer["unknown_words"] == ["elephant"]
    assert answer["results"][0]["match_probability"] < 0.5
    assert sum("demo model" in note for note in answer["notes"]) == 1
