"""A question put to images: a prompt for a model that answers, and replies with their probabilities.

Shapes: K images · F, W a writer's features of one image · O options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sightline.blip.instructions import TASKS, TaskName, options_of, prompt
from sightline.blip.sampling import Answer, Sampling, SamplingName
from sightline.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sightline.blip.protocols import Answerer

LATE: Final = "deadline"
"""The reason of a reply that did not come in time."""


@dataclass(frozen=True)
class Question:
    """What is asked, and how (``sightline.blip.instructions``). ``sampling``: of free answers."""

    text: str = ""
    task: TaskName = "short_answer"
    wording: int | str = 0
    options: tuple[str, ...] = ()
    sampling: SamplingName = "beam"

    def prompt(self) -> str:
        """What the model is asked. InputError: text, task, wording and options do not go together."""
        return prompt(self.task, self.text, self.wording, self.options)

    def choices(self) -> tuple[str, ...]:
        """What the answer is one of; empty: it is free."""
        return options_of(self.task, self.options)


@dataclass(frozen=True)
class Reply:
    """Of one image. ``options``: all that there were, as they were given, each with its probability.

    ``reason`` (that of an ImageRejected, or ``LATE``) and ``problem`` (a sentence) say why there is no
    answer; then ``answer`` and ``probability`` are None.
    """

    answer: str | None
    probability: float | None
    options: tuple[Answer, ...] = ()
    reason: str | None = None
    problem: str | None = None


def replies(question: Question, model: Answerer, features_KFW: Tensor) -> list[Reply]:
    """One reply for each image, from its features ``[K,F,W]``.

    A free answer has the probability of its tokens. Options are compared by the log-likelihood of the whole
    option, its end included, as LAVIS ranks them (``predict_class``): not divided by its length, so that it
    is a probability, and so that nothing is gained by words that say no more. Theirs is the softmax over the
    options; the first wins a tie.

    Raises:
        InputError: text, task, wording and options do not go together.
        UnavailableError: the model gives no numbers.
    """
    choices, asked = question.choices(), [question.prompt()]
    if not choices:
        sampling = answer_sampling(question, model.sampling(question.sampling))
        return [_free(one) for one in model.answer(features_KFW, asked, sampling)]
    likelihoods_KO = model.log_likelihoods(features_KFW, asked, choices).double()
    if not bool(likelihoods_KO.isfinite().all()):
        raise _no_number()
    return [_chosen(choices, row) for row in likelihoods_KO.softmax(dim=1).tolist()]


def answer_sampling(question: Question, published: Sampling) -> Sampling:
    """How words of an answer are chosen: as the model was published to choose those of captions, but for the
    length. Short answers have at most 10 tokens and a length penalty of −1 (arXiv 2301.12597, section 4.1).
    """
    task = TASKS[question.task]
    penalty = -1.0 if task.is_short else published.length_penalty
    return replace(published, min_tokens=1, max_tokens=task.max_tokens, length_penalty=penalty)


def _free(answer: Answer) -> Reply:
    if not math.isfinite(answer.probability):
        raise _no_number()
    return Reply(answer.text, answer.probability)


def _chosen(choices: Sequence[str], probabilities: Sequence[float]) -> Reply:
    best = max(range(len(choices)), key=probabilities.__getitem__)
    options = tuple(map(Answer, choices, probabilities))
    return Reply(choices[best], probabilities[best], options)


def _no_number() -> UnavailableError:
    return UnavailableError("The model gave a likelihood that is no number: load it in float32.")
