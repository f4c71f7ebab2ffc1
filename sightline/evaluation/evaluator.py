"""From a data file and a checkpoint to a report."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.blip.protocols import RetrievalModel, embedding
from sightline.errors import InputError
from sightline.evaluation import metrics
from sightline.evaluation.comparisons import (
    SIDES,
    Answers,
    Comparison,
    PerQuery,
    Side,
    compare,
    of_chance,
    of_ranks,
)
from sightline.evaluation.config import EvalConfig, PatchDtype
from sightline.evaluation.data import DataProblem, RetrievalSet, read_pictures, retrieval_set
from sightline.evaluation.metrics import bootstrap_interval
from sightline.evaluation.protocol import (
    Direction,
    Features,
    embed,
    image_to_text,
    text_to_image,
)
from sightline.evaluation.report import EvalReport, Row
from sightline.evaluation.tables import WRITTEN, PictureTable, TablePlan, encode_patches, fill, identity
from sightline.records import ScoreName
from sightline.store.room import check_room
from sightline.types import OnProgress, OnRemark

SCORES: tuple[ScoreName, ...] = ("itm", "itm+itc")
ADVICE = "free some room there, or name another place with --cache"
PATCHES = "patches"
Matrices = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Text to image ``[T, N]`` and image to text ``[N, T]``."""


def run_evaluation(
    config: EvalConfig, on_progress: OnProgress | None = None, on_remark: OnRemark | None = None
) -> EvalReport:
    """Load, evaluate, write; see ``evaluation.run``."""
    from sightline import blip

    data = read_pictures(config.data, config.images)
    split, pictures = data.of_split(config.split)
    dataset = retrieval_set(data.name, split, pictures[: config.limit], config.text)
    model = blip.load(
        config.model, revision=config.revision, device=config.device, cache_dir=config.cache_dir
    )
    report = evaluate(embedding(model, config.model), dataset, config, data.problems, on_progress, on_remark)
    if config.out is not None:
        report.write(config.out)
    return report


def evaluate(
    model: RetrievalModel,
    dataset: RetrievalSet,
    config: EvalConfig,
    problems: Sequence[DataProblem] = (),
    on_progress: OnProgress | None = None,
    on_remark: OnRemark | None = None,
) -> EvalReport:
    """Evaluate a loaded model; pictures that cannot be decoded leave the data set and enter the report.

    Raises:
        InputError: no picture can be decoded.
        NoRoomError: the disk is too small for their patches; nothing was written.
    """
    folder = config.cache or Path(tempfile.gettempdir())
    said = check_room([_plan(folder, model, dataset, config.patches).need(PATCHES)], ADVICE)
    if on_remark is not None:
        for remark in said:
            on_remark(remark)
    with tempfile.TemporaryDirectory(prefix="sightline-eval-") as temporary:
        table = _plan(config.cache or Path(temporary), model, dataset, config.patches).open()
        fill(table, dataset.pictures, encode_patches(model), config.batch_size, on_progress)
        return evaluate_table(model, table, dataset, config, problems, on_progress)


def _plan(folder: Path, model: RetrievalModel, dataset: RetrievalSet, dtype: PatchDtype) -> TablePlan:
    """The patch table of this checkpoint and these pictures."""
    name = identity(dataset.pictures, model.fingerprint)
    return TablePlan(folder, name, len(dataset.pictures), model.patch_shape, dtype)


def evaluate_table(
    model: RetrievalModel,
    table: PictureTable,
    dataset: RetrievalSet,
    config: EvalConfig,
    problems: Sequence[DataProblem] = (),
    on_progress: OnProgress | None = None,
) -> EvalReport:
    """Evaluate from a filled table of patches."""
    rows = table.rows(WRITTEN)
    if not rows:
        raise InputError(f"None of the {len(table)} pictures could be decoded; see the problems listed.")
    view, kept = table.view(rows), dataset.keep(rows)
    features = embed(model, view, kept.texts, config.batch_size, on_progress)
    similarity = features.similarity()
    ks = sorted(set(config.ks))
    to_image = text_to_image(model, view, kept.texts, similarity, ks, config.batch_size, on_progress)
    to_text = image_to_text(model, view, kept.texts, similarity, ks, config.batch_size, on_progress)
    scored = _Scored(kept, features, similarity, to_image, to_text)
    lines = _lines(scored, ks)
    answers = Answers(
        kept.image_of_text.tolist(),
        [line.text_to_image.tolist() for line in lines],
        [line.image_to_text.tolist() for line in lines],
    )
    return EvalReport(
        model=config.model,
        fingerprint=model.fingerprint,
        dataset=kept.name,
        split=kept.split,
        images=len(kept.pictures),
        texts=len(kept.texts),
        text=config.text,
        device=str(model.device),
        rows=tuple(_row(line) for line in lines),
        intervals=tuple(bootstrap_interval(line.text_to_image < 10, kept.image_of_text) for line in lines),
        problems=(*problems, *table.problems()),
        comparisons=tuple(_comparisons(scored, lines)),
        answers=answers,
    )


@dataclass(frozen=True)
class _Scored:
    """All scores of a data set; ``similarity`` is ITC ``[N, T]``."""

    dataset: RetrievalSet
    features: Features
    similarity: torch.Tensor
    to_image: Direction
    to_text: Direction


@dataclass(frozen=True)
class _Line:
    """One score at one k: the rank of what is right for each query, and the seconds of one."""

    score: ScoreName
    k: int | None
    text_to_image: metrics.Ranks
    image_to_text: metrics.Ranks
    seconds: tuple[float, float]

    def of(self, side: Side) -> metrics.Ranks:
        return self.text_to_image if side == "text_to_image" else self.image_to_text


def _lines(scored: _Scored, ks: Sequence[int]) -> list[_Line]:
    dataset = scored.dataset
    encode = scored.features.text_seconds / len(dataset.texts)
    itc = scored.similarity.numpy()
    lines = [_line("itc", None, (itc.T, itc), dataset, (encode, 0.0))]
    for name in SCORES:
        for k in ks:
            seconds = (
                scored.to_image.seconds[k] / len(dataset.texts) + encode,
                scored.to_text.seconds[k] / len(dataset.pictures),
            )
            matrices = scored.to_image.matrix(k, name), scored.to_text.matrix(k, name)
            lines.append(_line(name, k, matrices, dataset, seconds))
    return lines


def _line(
    score: ScoreName, k: int | None, matrices: Matrices, dataset: RetrievalSet, seconds: tuple[float, float]
) -> _Line:
    images = metrics.text_to_image_ranks(matrices[0], dataset.image_of_text)
    texts = metrics.image_to_text_ranks(matrices[1], dataset.image_of_text)
    return _Line(score, k, images, texts, seconds)


def _row(line: _Line) -> Row:
    return Row(
        line.score,
        line.k,
        metrics.recall(line.text_to_image),
        metrics.recall(line.image_to_text),
        *line.seconds,
    )


def _comparisons(scored: _Scored, lines: Sequence[_Line]) -> Iterator[Comparison]:
    """In each direction: ITC and ITM against chance, ITM + ITC against ITC."""
    image_of_text = scored.dataset.image_of_text
    for side in SIDES:
        groups = image_of_text if side == "text_to_image" else np.arange(len(scored.dataset.pictures))
        for line in lines:
            ours = of_ranks(line.of(side))
            if line.score == "itm+itc" and line.k is not None:
                itc = of_ranks(_itc_of_candidates(scored, side, line.k))
                yield compare(side, line.score, "itc", line.k, ours, itc, groups)
            else:
                yield compare(side, line.score, "chance", line.k, ours, _chance(scored, side, line.k), groups)


def _itc_of_candidates(scored: _Scored, side: Side, k: int) -> metrics.Ranks:
    """ITC's order of the k candidates that ITM orders.

    What is right and no candidate counts for neither: ITC's whole order would have a reciprocal rank for it.
    """
    image_of_text = scored.dataset.image_of_text
    if side == "text_to_image":
        return metrics.text_to_image_ranks(scored.to_image.matrix(k, "itc"), image_of_text)
    return metrics.image_to_text_ranks(scored.to_text.matrix(k, "itc"), image_of_text)


def _chance(scored: _Scored, side: Side, k: int | None) -> PerQuery:
    """A random order of a query's candidates: ITC's k best, or everything."""
    to_image = side == "text_to_image"
    image_of_text = scored.dataset.image_of_text
    if k is None:
        right = np.ones(len(image_of_text), np.int64) if to_image else np.bincount(image_of_text)
        width = len(scored.dataset.pictures) if to_image else len(image_of_text)
        return of_chance(right, width, np.zeros_like(right))
    direction = scored.to_image if to_image else scored.to_text
    columns = direction.columns[:, :k]
    rows = np.arange(len(columns))[:, None]
    hits = columns == image_of_text[rows] if to_image else image_of_text[columns] == rows
    all_right = np.ones(len(columns), np.int64) if to_image else np.bincount(image_of_text)
    return of_chance(hits.sum(axis=1), columns.shape[1], direction.width - all_right)
