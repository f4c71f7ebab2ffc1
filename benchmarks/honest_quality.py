"""How far match probabilities can be believed: queries that the demo world has pictures for, and others.

Test pictures, test sentences and test words that no fit has seen. Each figure once with the signs that ship,
and once without the norms of the word embedding (``_no_norms``), by likeness to nonsense alone.
Shapes: T queries · K candidates.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.training.calibration import IN_WORLD, Asked, Kind, ask, queries_of_world
from demo.world.benchmark import held_out, texts
from demo.world.foreign import lacking, nonsense, with_lacking_words
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.checkpoint_words import read_calibration
from sightline.blip.known_words import KnownWords, Learned, LongRows, UnlikeNonsense
from sightline.reranker.calibration_fit import calibration_error

SEED: Final = 1
FAMILIES: Final = 60
EACH: Final = 120
FOREIGN: Final = 500
BEST: Final = 10
"""Hits of each query that the calibration error is over: what people see."""
HONEST_GOALS: Final[dict[str, tuple[float, float]]] = {
    name + form: goal
    for name, goal in (
        ("ece", (0.0, 0.05)),
        ("absent_auroc_ood", (0.95, 1.0)),
        ("ood_over_half", (0.0, 0.02)),
        ("unknown_flagged", (0.99, 1.0)),
        ("known_flagged", (0.0, 0.0)),
    )
    for form in ("", "_no_norms")
} | {"unknown_flagged_no_norms": (0.95, 1.0)}
Figures = dict[str, float]
FOREIGN_KINDS: Final[tuple[Kind, ...]] = ("lacking", "nonsense")
DEMO_COLLECTION: Final = Path(DEMO_FOLDER).with_name("demo-collection")


@dataclass(frozen=True, eq=False)
class _Said:
    """``probabilities``: ``[T,K]``; all 0 where nothing is ranked."""

    probabilities: NDArray[np.float64]
    asked: Asked

    def best(self, kinds: Sequence[Kind]) -> NDArray[np.float64]:
        """Of each query of these kinds: ``[T]``."""
        found: NDArray[np.float64] = self.probabilities[np.isin(self.asked.kinds, kinds)].max(axis=1)
        return found

    def error(self, kinds: Sequence[Kind]) -> float:
        """Over the `BEST` hits of each query of these kinds."""
        chosen = np.isin(self.asked.kinds, kinds)
        order = np.argsort(-self.asked.differences[chosen], axis=1, kind="stable")[:, :BEST]
        said = np.take_along_axis(self.probabilities[chosen], order, axis=1)
        so = np.take_along_axis(self.asked.truth[chosen], order, axis=1)
        return calibration_error(said.ravel(), so.ravel())

    def figures(self, form: str) -> Figures:
        """The larger error of the world's own queries and of all; the others of those without a picture."""
        present, without = self.best(["present"]), self.best([*FOREIGN_KINDS, "absent"])
        above = (present[:, None] > without[None, :]).mean()
        ties = (present[:, None] == without[None, :]).mean()
        return {
            f"ece{form}": max(self.error(IN_WORLD), self.error([*IN_WORLD, *FOREIGN_KINDS])),
            f"absent_auroc_ood{form}": float(above + ties / 2),
            f"ood_over_half{form}": float((self.best(FOREIGN_KINDS) > 0.5).mean()),
        }


def honest_figures(model: Blip2) -> Figures:
    """All figures, of a model with the files of the demo model."""
    scenes, queries = queries_of_world(SEED, FAMILIES, "test", EACH)
    nothing = np.zeros(len(scenes), dtype=bool)
    queries += [("lacking", text, nothing) for text in with_lacking_words("test", FOREIGN)]
    queries += [("nonsense", text, nothing) for text in nonsense("test", FOREIGN)]
    signs = _signs(model)
    asked = ask(model, scenes, queries, lambda text: any(_is_ranked(one, text) for one in signs.values()))
    softmax = _Said(1 / (1 + np.exp(-asked.differences)), asked)
    figures = softmax.figures("_softmax")
    for form, known in signs.items():
        figures |= _said(asked, known).figures(form) | _flagged(model, known, form)
    return figures


def _is_ranked(known: KnownWords, text: str) -> bool:
    return not known.read(text).nothing_known


def _signs(model: Blip2) -> dict[str, KnownWords]:
    """By the form of the figures' names."""
    believable = read_calibration(DEMO_FOLDER)
    assert believable.least_norm is not None
    assert believable.most_like_nonsense is not None
    rows = model.network.word_embedding.weight.norm(dim=1).tolist()
    signs: dict[str, Learned] = {
        "": LongRows(rows, believable.least_norm),
        "_no_norms": UnlikeNonsense(model.encode_text, believable.most_like_nonsense),
    }
    return {form: KnownWords(model.tokenizer, learned) for form, learned in signs.items()}


def _said(asked: Asked, known: KnownWords) -> _Said:
    """What an answer would say of each pair."""
    calibration, rows = read_calibration(DEMO_FOLDER).calibration, []
    for text, differences in zip(asked.texts, asked.differences.tolist(), strict=True):
        read = known.read(text)
        own = calibration.for_query(unknown=bool(read.unknown))
        rows.append([0.0 if read.nothing_known else own.probability(one) for one in differences])
    return _Said(np.array(rows), asked)


def _flagged(model: Blip2, known: KnownWords, form: str) -> Figures:
    """Shares of unknown words, and of known sentences: those of the world, and the demo's examples."""
    words = lacking("test")
    _, sentences, _ = held_out(SEED, FAMILIES)
    examples = json.loads((DEMO_COLLECTION / "queries.json").read_text())
    asked = [*texts(sentences, SEED), *(one["text"] for one in examples)]
    return {
        f"unknown_flagged{form}": float(np.mean([bool(known.read(word).unknown) for word in words])),
        f"known_flagged{form}": float(np.mean([bool(known.read(text).unknown) for text in asked])),
    }
