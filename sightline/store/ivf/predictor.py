"""Which cells hold a query's best tokens: learned from each cell's best scores for sample texts.

Texts lie off the images' manifold, so that a text's nearest centroids are not the cells that hold its best
tokens. A ridge regression from the text to each cell's best score finds them: with text vectors ``X [P,D]``
and best scores ``B [P,L]`` over all tokens, ``W = (XᵀX + λI)⁻¹ Xᵀ(B − XCᵀ)`` (both centred) is added to the
centroids ``C [L,D]``. ``B`` is a maximum: it is kept, new images raise it, and ``W`` is fitted again. Fitted
on a sample of the images it is much worse, because it cannot know the few that score best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError
from sightline.store.durable import verify_file
from sightline.store.ivf.sealed_file import read_sealed, write_sealed

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.store.durable import WrittenFile
    from sightline.store.ivf.lists import Floats
    from sightline.store.ivf.trained import Trained

FORM: Final = "sightline-ivf-predictor"
RIDGE: Final = 3.0
"""λ. Between 0.03 and 10 it makes next to no difference."""
EMPTY: Final = -4.0
"""What is predicted of a cell without tokens: it is looked at after all others."""
_TOKENS_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Predictor:
    """``weights`` ``[L,D]`` and ``bias`` ``[L]``: of a query each cell's best score."""

    weights: Floats
    bias: Floats

    def best_cells(self, query: Floats, count: int) -> NDArray[np.int64]:
        """The ``count`` cells that are predicted to hold the best tokens for a query ``[D]``, best first."""
        predicted = self.weights @ query + self.bias
        count = min(count, len(predicted))
        best = np.argpartition(predicted, len(predicted) - count)[len(predicted) - count :]
        return best[np.argsort(-predicted[best], kind="stable")].astype(np.int64)


class CellScores:
    """``best`` ``[P,L]``: the best score of each text over the tokens of each cell, −inf for an empty one."""

    def __init__(self, trained: Trained, best: Floats | None = None) -> None:
        self._texts = trained.turned(trained.predicting)
        shape = len(self._texts), len(trained.centroids)
        self.best: Floats = np.full(shape, -np.inf, np.float32) if best is None else best

    def add(self, vectors: Floats, cells: NDArray[np.int64]) -> None:
        """More tokens ``[n,D]``, turned, and their cells ``[n]``."""
        order = np.argsort(cells, kind="stable")
        for start in range(0, len(order), _TOKENS_AT_ONCE):
            some = order[start : start + _TOKENS_AT_ONCE]
            there, first = np.unique(cells[some], return_index=True)
            found = np.maximum.reduceat(self._texts @ vectors[some].T, first, axis=1)
            self.best[:, there] = np.maximum(self.best[:, there], found)


def fit(scores: CellScores, trained: Trained) -> Predictor:
    """See the module. Of queries as they are: the rotation is part of it."""
    texts, centroids = trained.predicting, trained.centroids @ trained.rotation.T
    told = np.isfinite(scores.best).all(axis=0)
    gain = np.where(told, scores.best - texts @ centroids.T, 0.0)
    mean, bias = texts.mean(axis=0), gain.mean(axis=0)
    centred = (texts - mean).astype(np.float64)
    gram = centred.T @ centred + RIDGE * np.eye(texts.shape[1])
    weights = np.linalg.solve(gram, centred.T @ gain).T
    bias = np.where(told, bias - weights @ mean, EMPTY)
    return Predictor((centroids + weights).astype(np.float32), bias.astype(np.float32))


def write_predictor(folder: Path, kind: str, predictor: Predictor, scores: CellScores) -> WrittenFile:
    """Durably, under a new name."""
    sealed = {"weights": predictor.weights, "bias": predictor.bias}
    return write_sealed(folder, kind, FORM, {}, sealed, {"best": scores.best.astype(np.float16)})


def read_predictor(path: Path) -> Predictor:
    """Copied into memory. `FileMissingError`, `CorruptionError`."""
    arrays = read_sealed(path, FORM).arrays
    _check(path, {name: array.ndim for name, array in arrays.items()})
    return Predictor(arrays["weights"].copy(), arrays["bias"].copy())


def read_scores(path: Path, sha256: str, trained: Trained) -> CellScores:
    """What it was fitted to, after the whole file was verified. Errors as `read_predictor`."""
    verify_file(path, sha256)
    arrays = read_sealed(path, FORM).arrays
    _check(path, {name: array.ndim for name, array in arrays.items()})
    return CellScores(trained, arrays["best"].astype(np.float32))


def _check(path: Path, shapes: dict[str, int]) -> None:
    if shapes != {"weights": 2, "bias": 1, "seal": 1, "best": 2}:
        raise CorruptionError(f"The file {path} is no {FORM} that this version can read.")
