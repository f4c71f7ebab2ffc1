"""Questions about scenes: the answers are right by another reading of scene and text, and balanced."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from random import Random

import pytest

from demo.world.asking_benchmark import asked
from demo.world.instructions import instruct
from demo.world.questions import TOPICS, Topic, answers_of, ask
from demo.world.scene import Scene, Thing
from demo.world.sentences import plural
from demo.world.splits import scenes, split_of
from demo.world.things import COLOURS, KINDS

FORMS = {form: kind for kind in KINDS for form in (kind, plural(kind))}
DIRECTIONS = {
    "left": ("left",),
    "right": ("right",),
    "up": ("above", "over", "higher"),
    "down": ("below", "under", "lower"),
}


def named(text: str) -> list[tuple[str | None, str]]:
    """(colour or None, kind) of every noun of the text."""
    words = ["", *text.replace(",", " ").replace('"', " ").split()]
    return [
        (before if before in COLOURS else None, FORMS[word])
        for before, word in pairwise(words)
        if word in FORMS
    ]


def fitting(scene: Scene, colour: str | None, kind: str) -> list[Thing]:
    return [one for one in scene.things if one.kind == kind and colour in (None, one.colour)]


def beside(scene: Scene, thing: Thing, text: str) -> set[str]:
    """Kinds of the things whose centre is farther than a tenth of the side in the direction that is named."""
    words = set(text.replace(",", " ").split())
    way = next(name for name, said in DIRECTIONS.items() if words & set(said))
    step = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[way]
    return {
        one.kind
        for one in scene.things
        if one is not thing and (one.x - thing.x) * step[0] + (one.y - thing.y) * step[1] > 0.1
    }


def some(topic: Topic, count: int = 200) -> list[tuple[Scene, str, str]]:
    rng = Random(f"test {topic}")
    found = ((scene, ask(rng, scene, topic)) for scene in islice(scenes("val", 5), count))
    return [(scene, one.text, one.answer) for scene, one in found if one is not None]


def test_the_colour_is_that_of_all_things_of_the_kind() -> None:
    for scene, text, answer in some("colour"):
        ((_, kind),) = named(text)
        assert {one.colour for one in fitting(scene, None, kind)} == {answer}


def test_the_number_is_that_of_the_things_named() -> None:
    found = some("count")
    for scene, text, answer in found:
        ((colour, kind),) = named(text)
        assert str(len(fitting(scene, colour, kind))) == answer
    assert {answer for _, _, answer in found} == {"0", "1", "2", "3"}


def test_what_is_said_to_be_there_is_there() -> None:
    for scene, text, answer in some("there"):
        ((colour, kind),) = named(text)
        asked_of = [one for one in text.split() if one in COLOURS]
        wanted = fitting(scene, asked_of[0] if asked_of else colour, kind)
        assert bool(wanted) == (answer == "yes"), text


def test_only_the_answer_stands_on_that_side() -> None:
    for scene, text, answer in some("position"):
        ((colour, kind),) = named(text)
        (thing,) = fitting(scene, colour, kind)
        assert beside(scene, thing, text) == {answer}, text


@pytest.mark.parametrize("topic", TOPICS)
def test_the_benchmark_is_of_the_test_split_and_balanced(topic: Topic) -> None:
    group = asked(1, 40)[topic]
    counts = Counter(question.answer for _, question in group)
    assert set(counts) == set(answers_of(topic)) or len(answers_of(topic)) > 40
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {split_of(scene) for scene, _ in group} == {"test"}
    assert len({id(scene) for scene, _ in group}) == 40


def test_an_instruction_holds_its_question_and_never_its_answer_alone() -> None:
    rng = Random(0)
    tasks = {"question": 1.0, "caption": 0.3, "describe": 0.2, "read": 0.1}
    seen = Counter[str]()
    for scene in islice(scenes("val", 6), 200):
        one = instruct(rng, scene, dict.fromkeys(TOPICS, 1.0), tasks)
        seen[one.task] += 1
        assert one.answer
        assert "{" not in one.text
    assert set(seen) == {*TOPICS, "caption", "describe", "read"}
