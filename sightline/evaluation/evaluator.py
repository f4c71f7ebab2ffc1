"""From a data file and a checkpoint to a report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.blip.protocols import RetrievalModel, embedding
from sightline.errors import InputError
from sightline.evaluation import metrics
from sightline.evaluation.config import EvalConfig, PatchDtype
from sightline.evaluation.data import DataProblem, RetrievalSet, read_pictures, retrieval_set
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
    table_rows, intervals = _rows(_Scored(kept, features, similarity, to_image, to_text), ks)
    return EvalReport(
        model=config.model,
        fingerprint=model.fingerprint,
        dataset=kept.name,
        split=kept.split,
        images=len(kept.pictures),
        texts=len(kept.texts),
        text=config.text,
        device=str(model.device),
        rows=tuple(table_rows),
        intervals=tuple(intervals),
        problems=(*problems, *table.problems()),
    )


@dataclass(frozen=True)
class _Scored:
    """All scores of a data set; ``similarity`` is ITC ``[N, T]``."""

    dataset: RetrievalSet
    features: Features
    similarity: torch.Tensor
    to_image: Direction
    to_text: Direction


def _rows(scored: _Scored, ks: Sequence[int]) -> tuple[list[Row], list[tuple[float, float]]]:
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
    return [row for row, _ in lines], [interval for _, interval in lines]


def _line(
    score: str, k: int | None, matrices: Matrices, dataset: RetrievalSet, seconds: tuple[float, float]
) -> tuple[Row, tuple[float, float]]:
    ranks = metrics.text_to_image_ranks(matrices[0], dataset.image_of_text)
    texts = metrics.image_to_text_recall(matrices[1], dataset.image_of_text)
    row = Row(score, k, metrics.recall(ranks), texts, *seconds)
    return row, metrics.bootstrap_interval(ranks < 10, dataset.image_of_text)
