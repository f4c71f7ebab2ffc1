"""What stage 2 and instruction tuning learn from: pictures, each with an instruction and its answers.

Rows of instruction tuning are lines of ``{"image": …, "question": …, "answer": …}``, or ``"answers"`` with
several, of which an epoch takes one in turn; ``"split"`` as in captions.jsonl. What cannot be used is
listed and left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import InputError
from sightline.evaluation.data import DataProblem, Picture, locate, read_pictures
from sightline.evaluation.tables import TableView
from sightline.training.answer_batches import Packer
from sightline.training.answer_config import AnswerConfig
from sightline.training.answering import AnswerBatch
from sightline.training.data import HELD_OUT
from sightline.training.order import Order

QUESTION = "{question}"
"""What a wording puts the question for."""


@dataclass(frozen=True)
class Example:
    """An instruction about a picture, and what may be answered: the picture's captions."""

    picture: Picture
    instruction: str


@dataclass(frozen=True)
class AnswerSplit:
    """Examples that train and that measure; ``measured`` says which the latter are."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]
    measured: str
    problems: tuple[DataProblem, ...]


def read_examples(config: AnswerConfig) -> AnswerSplit:
    """Train on ``train`` or what has no split; measure on ``val``, ``test`` or a tenth of the pictures.

    Raises:
        InputError: the data cannot be read or holds nothing usable, or the wording has no place for a
        question.
    """
    examples, problems = _captions(config) if config.stage == "2" else _rows(config)
    train = [one for one in examples if one.picture.split in ("train", "")]
    for name in ("val", "test"):
        val = [one for one in examples if one.picture.split == name]
        if val:
            return AnswerSplit(tuple(train), _some(val, config), name, problems)
    held = _held_out(train, config.seed)
    val = [one for one in train if one.picture.path in held]
    rest = tuple(one for one in train if one.picture.path not in held)
    return AnswerSplit(rest, _some(val, config), "held out", problems)


def _captions(config: AnswerConfig) -> tuple[list[Example], tuple[DataProblem, ...]]:
    data = read_pictures(config.data, config.images)
    return [Example(picture, config.prompt) for picture in data.pictures], data.problems


def _rows(config: AnswerConfig) -> tuple[list[Example], tuple[DataProblem, ...]]:
    if QUESTION not in config.wording:
        raise InputError(
            f"The wording {config.wording!r} has no {QUESTION}, in whose place questions are put."
        )
    try:
        lines = config.data.read_text(encoding="utf-8").split("\n")  # U+2028 may stand in a text
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{config.data} cannot be read as text: {said}.") from error
    found = [_row(line, number, config) for number, line in enumerate(lines, start=1) if line.strip()]
    examples = [one for one in found if isinstance(one, Example)]
    left_out = tuple(one for one in found if isinstance(one, DataProblem))
    if not examples:
        first = f" The first problem: {left_out[0]}." if left_out else ""
        raise InputError(f"{config.data} holds no question about a picture below {config.images}.{first}")
    return examples, left_out


def _row(line: str, number: int, config: AnswerConfig) -> Example | DataProblem:
    where = f"line {number}"
    try:
        entry = json.loads(line)
        name, question = str(entry["image"]), entry["question"]
        given: list[Any] = list(entry["answers"]) if "answers" in entry else [entry["answer"]]
    except (ValueError, KeyError, TypeError):
        return DataProblem(where, "row", 'It needs {"image": …, "question": …, "answer": …}.')
    answers = tuple(" ".join(text.split()) for text in given if isinstance(text, str) and text.strip())
    if not isinstance(question, str) or not question.strip() or not answers:
        return DataProblem(name, "question", f"Its question or its answer is empty ({where}).")
    path = locate(config.images, name)
    if path is None:
        return DataProblem(name, "missing", f"There is no such file below {config.images}.")
    asked = config.wording.replace(QUESTION, " ".join(question.split()))
    return Example(Picture(name, path, answers, str(entry.get("split") or "")), asked)


def _held_out(examples: Sequence[Example], seed: int) -> set[Path]:
    paths = sorted({one.picture.path for one in examples})
    order = np.random.default_rng([seed, 2]).permutation(len(paths))
    return {paths[row] for row in order[: max(1, round(HELD_OUT * len(paths)))]}


def _some(examples: Sequence[Example], config: AnswerConfig) -> tuple[Example, ...]:
    order = np.random.default_rng([config.seed, 4]).permutation(len(examples))[: config.eval_rows]
    return tuple(examples[row] for row in sorted(order))


def distinct_pictures(examples: Sequence[Example]) -> list[Picture]:
    """Each picture once, in the order of its first example."""
    return list({one.picture.path: one.picture for one in examples}.values())


class AnswerBatches:
    """Batches of one rank by step number, as `sightline.training.data.Batches`."""

    def __init__(
        self, examples: Sequence[Example], rows: Sequence[int], table: TableView, packer: Packer, order: Order
    ) -> None:
        """``rows``: of the table, one for each example."""
        self._examples, self._rows, self._table = examples, rows, table
        self._packer, self.order = packer, order

    def make(self, step: int, rank: int = 0) -> AnswerBatch:
        """One batch on the CPU."""
        pairs = self.order.batch(step, rank)
        return self.pack([number for number, _ in pairs], [turn for _, turn in pairs])

    def pack(self, numbers: Sequence[int], turns: Sequence[int]) -> AnswerBatch:
        """Examples by number, each with the answer whose turn it is."""
        chosen = [self._examples[number] for number in numbers]
        answers = [one.picture.captions[turn] for one, turn in zip(chosen, turns, strict=True)]
        patches = self._table.read([self._rows[number] for number in numbers])
        return self._packer.pack(patches, [one.instruction for one in chosen], answers)

    def stream(self, start: int, stop: int, rank: int = 0) -> Iterator[AnswerBatch]:
        """Batches of the steps from ``start`` to ``stop``; each is made while the one before trains."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming = pool.submit(self.make, start, rank) if start < stop else None
            for step in range(start, stop):
                assert coming is not None
                batch = coming.result()
                coming = pool.submit(self.make, step + 1, rank) if step + 1 < stop else None
                yield batch
