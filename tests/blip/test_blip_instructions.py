"""Questions in the wordings of their tasks: each says what it must, and a wrong choice is a sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sightline.blip.instructions import (
    MAX_OPTIONS,
    TASKS,
    TaskName,
    options_of,
    prompt,
    task_of,
    wording_of,
    wordings,
)
from sightline.blip.toy import COLOURS, PLACES, words
from sightline.errors import InputError

OWN_QUESTION: dict[TaskName, str] = {"description": ""}
OPTIONS: dict[TaskName, tuple[str, ...]] = {"multiple_choice": ("a cat", "a dog", "a cow")}
ASKED = "How many {options} are there, in {0}?"
"""With braces, which are nobody's placeholders."""


@pytest.mark.parametrize("task", TASKS)
def test_every_wording_says_the_question_and_differs_from_the_others(task: TaskName) -> None:
    question, options = OWN_QUESTION.get(task, ASKED), OPTIONS.get(task, ())
    prompts = [prompt(task, question, name, options) for name in wordings(task)]
    assert len(set(prompts)) == len(prompts) >= 12
    assert all(question in one for one in prompts)
    assert prompts[0] == prompt(task, question, 0, options) == prompt(task, question, "0", options)
    listed = [one for one in prompts if "a cat, a dog or a cow" in one]
    assert len(listed) == (len(prompts) - 2 if task == "multiple_choice" else 0)


@pytest.mark.parametrize("task", TASKS)
def test_no_wording_speaks_of_a_colour_or_a_place(task: TaskName) -> None:
    said = {word for template in TASKS[task].wordings.values() for word in words(template)}
    assert not said & (COLOURS.keys() | PLACES.keys())


def test_the_wording_of_the_paper_is_there_to_the_letter() -> None:
    assert prompt("short_answer", "what colour is the car?", "blip2") == (
        "Question: what colour is the car? Short answer:"
    )
    assert wording_of("short_answer", 0) == "blip2"


def test_text_in_the_image_needs_no_question() -> None:
    assert "What is written in this image?" in prompt("text_in_image", "  ")


def test_options_are_those_of_the_task() -> None:
    assert options_of("yes_no") == ("yes", "no")
    assert options_of("counting") == ()
    assert options_of("multiple_choice", (" red ", "blue")) == ("red", "blue")


@pytest.mark.parametrize(
    ("task", "question", "wording", "options", "said"),
    [
        ("short_answer", " ", 0, (), "question is empty"),
        ("description", "what?", 0, (), "takes no question"),
        ("short_answer", "what?", "nonsense", (), "no wording nonsense"),
        ("short_answer", "what?", 99, (), "no wording 99"),
        ("short_answer", "what?", -1, (), "no wording -1"),
        ("short_answer", "what?", "²", (), "no wording ²"),
        ("short_answer", "what?", 0, ("a", "b"), "takes no options"),
        ("multiple_choice", "what?", 0, (), "2 to 50 options, not 0"),
        ("multiple_choice", "what?", 0, ("a",), "2 to 50 options, not 1"),
        ("multiple_choice", "what?", 0, ("a", " "), "option is empty"),
        ("multiple_choice", "what?", 0, ("a", "b", "a "), "given twice"),
        ("multiple_choice", "what?", 0, tuple(map(str, range(MAX_OPTIONS + 1))), "not 51"),
    ],
)
def test_a_wrong_choice_is_a_sentence(
    task: TaskName, question: str, wording: int | str, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        prompt(task, question, wording, options)


def test_an_unknown_task_names_those_that_there_are() -> None:
    assert task_of("counting") == "counting"
    with pytest.raises(InputError, match=r"short_answer, description, yes_no, multi.* or counting"):
        task_of("dance")


def test_asking_how_imports_no_torch() -> None:
    program = "import sys, sightline.blip.instructions; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
