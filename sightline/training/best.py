"""The best model so far by validation, published as soon as it is found."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sightline.store.storage import writing
from sightline.training.publication import finish

FILE = "best.json"

Validate = Callable[[], float]
"""How good the model is now; more is better."""
Publish = Callable[[str, str], None]
"""Publishes the model as it is now together with a small file: its name and its text."""


@dataclass(frozen=True)
class Best:
    """The best step so far and its score; ``scores`` are all that were taken, (step, score); ``settings`` are
    those of the run.
    """

    step: int
    score: float
    scores: tuple[tuple[int, float], ...]
    settings: dict[str, Any]


def read_best(out: Path) -> Best | None:
    """What a folder says of the model that it holds; None when no run has published in it."""
    path = out / FILE
    if not path.exists():
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    scores = tuple((int(step), float(score)) for step, score in raw["scores"])
    return Best(int(raw["step"]), float(raw["score"]), scores, raw["settings"])


class BestSoFar:
    """Keeps ``out`` at the best model: it holds one from the first step on, whatever ends the run.

    What is said of the model is part of its publication, so that the two always agree.
    """

    def __init__(self, out: Path, settings: dict[str, Any], validate: Validate, publish: Publish) -> None:
        self._out = out
        self._settings = settings
        self._validate = validate
        self._publish = publish
        self.best: Best | None = None

    def open(self) -> None:
        """Go on from the best of an earlier run in the same folder, or make ``out`` the model as it is now.

        Raises:
            StorageError: the disk is full or refuses.
        """
        finish(self._out)
        self.best = read_best(self._out)
        if self.best is None:
            self.consider(0)

    def consider(self, step: int) -> bool:
        """Score the model after ``step`` steps; publish it unless an earlier one was better.

        A score that is no number is never the best. Scores of later steps are forgotten: a killed run comes
        by them again.

        Raises:
            StorageError: the disk is full; the best so far is still there.
        """
        score = self._validate()
        old = self.best
        earlier = tuple(one for one in old.scores if one[0] < step) if old else ()
        scores = (*earlier, (step, score))
        if old is not None and not (score >= old.score or math.isnan(old.score)):
            self.best = replace(old, scores=scores)
            self._note(self.best)
            return False
        best = Best(step, score, scores, self._settings)
        self._publish(FILE, _text(best))
        self.best = best
        return True

    def _note(self, best: Best) -> None:
        aside = self._out / f".{FILE}.new"
        with writing(self._out):
            aside.write_text(_text(best), encoding="utf-8")
            os.replace(aside, self._out / FILE)


def _text(best: Best) -> str:
    return json.dumps(asdict(best)) + "\n"
