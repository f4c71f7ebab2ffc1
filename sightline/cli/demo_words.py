"""What the demo says about pictures: two captions, and three questions with their answers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from sightline.blip.checkpoint import DEMO
from sightline.errors import NotFoundError

if TYPE_CHECKING:
    from rich.console import Console

    from sightline.wiring import Installation

FILE = "questions.json"


@dataclass(frozen=True)
class Said:
    """A caption (``question`` is empty) or an answer; ``wanted`` is the right answer, empty for captions."""

    image: str
    question: str
    text: str
    probability: float
    wanted: str

    @property
    def is_right(self) -> bool:
        """Whether it is the right answer."""
        return self.text == self.wanted


def say(services: Installation, collection: str, folder: Path) -> list[Said]:
    """Captions of shipped pictures, then answers to shipped questions about them.

    Raises:
        NotFoundError: this installation ships without the questions.
    """
    try:
        raw = json.loads((folder / FILE).read_text())
    except FileNotFoundError as error:
        raise NotFoundError(f"The demo's questions are not in {folder}; reinstall Sightline.") from error
    return [*_captions(services, folder, raw["captions"]), *_answers(services, collection, raw["questions"])]


def _captions(services: Installation, folder: Path, names: list[str]) -> list[Said]:
    from sightline.imaging import Limits, decode

    images = [decode((folder / "images" / f"{name}.webp").read_bytes(), Limits()).rgb for name in names]
    written = services.describing.describe(images, model=DEMO)
    return [
        Said(name, "", texts[0].text, math.exp(texts[0].log_probability), "")
        for name, texts in zip(names, written, strict=True)
    ]


def _answers(services: Installation, collection: str, rows: list[dict[str, str]]) -> list[Said]:
    from sightline.captioner.answering import Question
    from sightline.searching.asking import AskRequest

    found = []
    for row in rows:
        request = AskRequest(collection, Question(row["question"]), (row["image"],))
        with services.asking.ask(request) as asked:
            reply = next(iter(asked.answers)).reply
        text, sure = reply.answer or reply.problem or "", reply.probability or 0.0
        found.append(Said(row["image"], row["question"], text, sure, row["answer"]))
    return found


def show_words(said: list[Said], console: Console) -> None:
    """A line for each."""
    console.print(Text("What the pictures show, and answers to questions about them:", style="bold"))
    for one in said:
        mark = Text("  ") if not one.question else Text("✓ " if one.is_right else "· ")
        what = f"{one.question} " if one.question else ""
        line = Text.assemble(
            mark, (f"{one.image}  ", "dim"), what, (one.text, "bold"), f"  {one.probability:.2f}"
        )
        console.print(line)


def plain_words(said: list[Said]) -> dict[str, Any]:
    """As ``--json`` prints them."""
    answers = [one for one in said if one.question]
    return {
        "captions": [
            {"image": one.image, "caption": one.text, "probability": one.probability}
            for one in said
            if not one.question
        ],
        "answers": [
            {"image": one.image, "question": one.question, "answer": one.text,
             "probability": one.probability, "right": one.is_right}
            for one in answers
        ],
    }  # fmt: skip
