"""How a question is put to a model that answers: a task, and one of its wordings. Imports no torch.

The wordings are our own, but for ``blip2``, which is the one of BLIP-2 with FlanT5 (arXiv 2301.12597, section
4.1). The first of a task is its default. Names and numbers stay; new ones are added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sightline.blip.wordings import (
    COUNTING,
    DESCRIPTION,
    MULTIPLE_CHOICE,
    SHORT_ANSWER,
    TEXT_IN_IMAGE,
    YES_NO,
)
from sightline.errors import InputError

TaskName = Literal["short_answer", "description", "yes_no", "multiple_choice", "text_in_image", "counting"]
YES_OR_NO: Final = ("yes", "no")
MAX_OPTIONS: Final = 50
"""Options of one question: each is one pass of the language model over the image."""


@dataclass(frozen=True)
class Task:
    """One kind of question.

    ``wordings``: templates with ``{question}`` and ``{options}``, by name. ``question``: what is asked when
    nothing is; None: a question is needed; empty: none is taken. ``options``: what the answer is one of;
    empty: a free answer of at most ``max_tokens``, the end included. ``is_short``: longer answers are held
    against (length penalty −1, as in the paper's section on VQA).
    """

    wordings: dict[str, str]
    question: str | None = None
    options: tuple[str, ...] = ()
    takes_options: bool = False
    max_tokens: int = 10
    is_short: bool = True


TASKS: Final[dict[TaskName, Task]] = {
    "short_answer": Task(SHORT_ANSWER),
    "description": Task(DESCRIPTION, question="", max_tokens=50, is_short=False),
    "yes_no": Task(YES_NO, options=YES_OR_NO),
    "multiple_choice": Task(MULTIPLE_CHOICE, takes_options=True),
    "text_in_image": Task(TEXT_IN_IMAGE, question="What is written in this image?", max_tokens=30),
    "counting": Task(COUNTING),
}


def task_of(name: str) -> TaskName:
    """The name itself; InputError unless there is a task of that name."""
    for known in TASKS:
        if name == known:
            return known
    raise InputError(f"There is no task named {name!r}; choose {_listed(list(TASKS), 'or')}.")


def wordings(task: TaskName) -> list[str]:
    """The names of a task's wordings; the position of a name is its number, 0 the default."""
    return list(TASKS[task].wordings)


def wording_of(task: TaskName, chosen: int | str) -> str:
    """The name of a wording that is given by name, or by number, as a number or as its digits.

    Raises:
        InputError: the task has no such wording.
    """
    names = wordings(task)
    if isinstance(chosen, str) and chosen in names:
        return chosen
    number = int(chosen) if isinstance(chosen, int) or (chosen.isascii() and chosen.isdigit()) else -1
    if 0 <= number < len(names):
        return names[number]
    raise InputError(
        f"The task {task} has no wording {chosen}; choose 0 to {len(names) - 1}, or {_listed(names, 'or')}."
    )


def options_of(task: TaskName, options: Sequence[str] = ()) -> tuple[str, ...]:
    """What an answer is chosen from, as given or as the task has it; empty: it is free.

    Raises:
        InputError: options where none are taken, fewer than two or too many where they are, an empty one, or
            one that is given twice.
    """
    known = TASKS[task]
    if not known.takes_options:
        if options:
            raise InputError(f"The task {task} takes no options; choose multiple_choice for them.")
        return known.options
    stripped = tuple(option.strip() for option in options)
    if not 2 <= len(stripped) <= MAX_OPTIONS:
        raise InputError(f"The task {task} needs 2 to {MAX_OPTIONS} options, not {len(stripped)}.")
    if not all(stripped):
        raise InputError("An option is empty; say in words what may be answered.")
    if len(set(stripped)) < len(stripped):
        raise InputError("An option was given twice; name each once.")
    return stripped


def prompt(task: TaskName, question: str, wording: int | str = 0, options: Sequence[str] = ()) -> str:
    """What a model is asked: the question in the wording of its task.

    Raises:
        InputError: no question where one is needed, one where none is taken, or a wording or options that the
            task does not have.
    """
    known, chosen = TASKS[task], options_of(task, options)
    asked = question.strip() or known.question
    if asked is None:
        raise InputError("The question is empty; say what is to be answered.")
    if known.question == "" and asked:
        raise InputError(f"The task {task} takes no question; leave it empty, or choose short_answer.")
    template = known.wordings[wording_of(task, wording)]
    return template.format(question=asked, options=_listed(chosen, "or"))


def _listed(items: Sequence[str], word: str) -> str:
    """``a, b or c``."""
    return f" {word} ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))
