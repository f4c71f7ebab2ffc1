"""Questions about pictures of a collection, of a search, and given ones: the toy answers by formulas."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.blip.random_weights import write_random_checkpoint
from sightline.captioner.answering import Question
from sightline.errors import (
    CheckpointError,
    ImageRejected,
    InputError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from sightline.records import SearchRequest
from sightline.searching.asking import MAX_ASKED, AskedImage, AskRequest
from sightline.settings import Settings
from sightline.types import RGB
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, picture, save, toy_settings

PICTURES = {
    "a": ("red", "blue", "red", "red"),
    "b": ("blue", "green", "white", "black"),
    "c": ("red", "red", "green", "green"),
    "d": ("yellow", "yellow", "yellow", "yellow"),
    "e": ("green", "black", "blue", "red"),
    "f": ("white", "red", "white", "blue"),
}
HOW_MANY = Question("how many red?", "counting")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("asking")
    for name, quarters in PICTURES.items():
        save(folder / "pictures", name, *quarters)
    found = toy_settings(folder / "data")
    with open_installation(found, inline=True) as services:
        index(services, folder / "pictures")
    return found


@pytest.fixture
def services(settings: Settings) -> Iterator[Installation]:
    with open_installation(settings, inline=True) as services:
        yield services


def ask(services: Installation, question: Question, *names: str, **more: object) -> list[AskedImage]:
    ids = tuple(f"{name}.png" for name in names)
    request = AskRequest("pictures", question, image_ids=ids, **more)  # type: ignore[arg-type]
    with services.asking.ask(request) as asked:
        return list(asked.answers)


def test_images_are_answered_one_by_one_in_the_order_they_are_named(services: Installation) -> None:
    names = ["c", "d", "a", "f", "e", "b"]  # more than go together
    answered = ask(services, HOW_MANY, *names)
    assert [one.image.image_id for one in answered] == [f"{name}.png" for name in names]
    assert [one.reply.answer for one in answered] == [str(PICTURES[name].count("red")) for name in names]
    assert [one.rank for one in answered] == [1, 2, 3, 4, 5, 6]
    assert {one.reply.probability for one in answered} == {0.75}
    assert {one.match_probability for one in answered} == {None}


@pytest.mark.parametrize("wording", ["number", "plain", 5])
def test_the_best_of_a_search_are_answered_in_its_order(services: Installation, wording: int | str) -> None:
    hits = services.search.find(SearchRequest("pictures", "red and green", limit=5)).results
    question = Question("how many green?", "counting", wording)
    answered = ask(services, question, text="red and green", limit=5)
    assert [one.image.key for one in answered] == [hit.key for hit in hits]
    assert [one.match_probability for one in answered] == [hit.match_probability for hit in hits]
    expected = [str(PICTURES[hit.id.removesuffix(".png")].count("green")) for hit in hits]
    assert [one.reply.answer for one in answered] == expected


def test_options_are_ranked_by_the_softmax_of_their_likelihoods(services: Installation) -> None:
    question = Question("what colour is top right?", "multiple_choice", "plain", ("red", "blue", "magenta"))
    [blue, red] = [one.reply for one in ask(services, question, "a", "c")]
    exponents = {"red": math.exp(-3 - 0.3), "blue": math.exp(-0.1), "magenta": math.exp(-3 - 0.7)}
    total = sum(exponents.values())
    assert [one.text for one in blue.options] == ["red", "blue", "magenta"]
    assert [one.probability for one in blue.options] == pytest.approx(
        [value / total for value in exponents.values()]
    )
    assert (blue.answer, red.answer) == ("blue", "red")
    assert blue.probability == pytest.approx(exponents["blue"] / total)


def test_yes_and_no_are_one_against_the_other(services: Installation) -> None:
    yes, no = (one.reply for one in ask(services, Question("is there a blue thing?", "yes_no"), "a", "c"))
    assert (yes.answer, no.answer) == ("yes", "no")
    assert yes.probability == pytest.approx(1 / (1 + math.exp(-3 - 0.2 + 0.1)))
    assert no.probability == pytest.approx(1 / (1 + math.exp(-3 - 0.3 + 0.1)))


def test_every_kind_of_question_can_be_asked(services: Installation) -> None:
    for task in ("short_answer", "description", "text_in_image"):
        text = "" if task != "short_answer" else "which animal?"
        [one] = ask(services, Question(text, task), "a")
        assert (one.reply.answer, one.reply.probability) == ("I do not know", 0.25)


def test_the_patches_that_the_collection_keeps_serve_a_model_that_sees_alike(tmp_path: Path) -> None:
    with open_installation(toy_settings(tmp_path / "data"), inline=True) as services:
        original = save(tmp_path / "pictures", "a", *PICTURES["a"])
        index(services, tmp_path / "pictures")
        original.unlink()
        assert [one.reply.answer for one in ask(services, HOW_MANY, "a")] == ["3"]


def test_what_was_seen_once_is_not_looked_at_again(tmp_path: Path) -> None:
    settings = toy_settings(tmp_path / "data")
    without = settings.model_copy(update={"indexer": replace(settings.indexer, patch_codec="none")})
    with open_installation(without, inline=True) as services:
        originals = [save(tmp_path / "pictures", name, *PICTURES[name]) for name in "abc"]
        index(services, tmp_path / "pictures")
        first = ask(services, HOW_MANY, "a", "b")
        for original in originals:
            original.unlink()
        assert ask(services, HOW_MANY, "b", "a") == [
            AskedImage(place, one.image, None, one.reply) for place, one in enumerate(reversed(first), 1)
        ]
        [gone, there] = [one.reply for one in ask(services, HOW_MANY, "c", "a")]
        assert gone.answer is None
        assert gone.probability is None
        assert gone.problem
        assert there.answer == "3"


def test_images_whose_turn_comes_too_late_get_no_answer(services: Installation) -> None:
    answered = ask(services, HOW_MANY, "a", "b", deadline_ms=1e-6)
    assert [one.reply.answer for one in answered] == [None, None]
    assert all("time was up" in (one.reply.problem or "") for one in answered)
    assert [one.reply.answer for one in ask(services, HOW_MANY, "a", deadline_ms=3_600_000)] == ["3"]


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (AskRequest("nothing", HOW_MANY, ("a.png",)), NotFoundError, "nothing"),
        (AskRequest("pictures", HOW_MANY, ("z.png",)), NotFoundError, "z.png"),
        (AskRequest("pictures", HOW_MANY), InputError, "one of the two"),
        (AskRequest("pictures", HOW_MANY, ("a.png",), "red"), InputError, "one of the two"),
        (AskRequest("pictures", HOW_MANY, ("a.png",) * (MAX_ASKED + 1)), InputError, "at most 100"),
        (AskRequest("pictures", HOW_MANY, text="red", limit=MAX_ASKED + 1), InputError, "at most 100"),
        (AskRequest("pictures", HOW_MANY, text="red", limit=0), InputError, "at least 1"),
        (AskRequest("pictures", HOW_MANY, text=" "), InputError, "text is empty"),
        (AskRequest("pictures", Question(" "), ("a.png",)), InputError, "question is empty"),
        (AskRequest("pictures", HOW_MANY, ("a.png",), model="demo-not"), UnavailableError, "demo-not"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence_before_anything_is_computed(
    services: Installation, request_: AskRequest, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said), services.asking.ask(request_):
        pytest.fail("it began")
    assert services.scheduler.figures().requests == 0


def test_a_place_in_the_queue_is_held_while_answers_are_read(services: Installation) -> None:
    request = AskRequest("pictures", HOW_MANY, ("a.png", "b.png"))
    with services.asking.ask(request) as asked:
        assert services.scheduler.figures().requests == 1
        assert next(asked.answers).reply.answer == "3"
    assert services.scheduler.figures().requests == 0


def test_pictures_that_are_given_need_no_collection(services: Installation) -> None:
    def broken() -> RGB:
        raise ImageRejected("truncated", "The file ends too early.")

    pictures = [lambda name=name: picture(*PICTURES[name]) for name in "abcdef"]
    pictures.insert(2, broken)
    with services.asking.ask_given(HOW_MANY, pictures) as asked:
        assert asked.model == "toy"
        replies = list(asked.replies)
    assert [reply.answer for reply in replies] == ["3", "0", None, "2", "0", "1", "1"]
    assert replies[2].problem == "The file ends too early."
    with pytest.raises(InputError, match="No picture"), services.asking.ask_given(HOW_MANY, []):
        pytest.fail("it began")


def test_a_full_queue_refuses_questions_as_it_refuses_searches(services: Installation) -> None:
    most = services.settings.serving.max_waiting
    with ExitStack() as full:
        for _ in range(most):
            full.enter_context(services.scheduler.admit())
        with pytest.raises(OverloadedError), services.asking.ask_given(HOW_MANY, [lambda: picture("red")]):
            pytest.fail("it began")


def test_a_model_that_answers_nothing_is_named(services: Installation, tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "retrieval")
    request = AskRequest("pictures", HOW_MANY, ("a.png",), model=str(folder))
    with pytest.raises(CheckpointError, match="answers no questions"), services.asking.ask(request):
        pytest.fail("it began")
