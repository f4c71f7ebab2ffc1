"""BLIP-2's objectives, and a trainer that fine-tunes a checkpoint on captioned pictures.

``run(TrainConfig)`` is what the command line calls; nothing heavy is imported before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.training.config import TrainConfig

if TYPE_CHECKING:
    from sightline.training.report import TrainReport
    from sightline.types import OnProgress

__all__ = ["TrainConfig", "run"]


def run(config: TrainConfig, on_progress: OnProgress | None = None) -> TrainReport:
    """Train, and write to ``config.out`` a checkpoint that stock transformers loads, and a report.

    Raises:
        InputError: the data, or what was asked of the model, cannot be used.
        ConflictError: the folder holds a run that this one does not continue.
        TrainingDivergedError: the loss left all bounds; the last good checkpoint is kept.
        ModelUnavailableError: neither a folder nor a reachable checkpoint.
        CheckpointError: the checkpoint is no BLIP-2; others cannot be trained here.
    """
    from sightline.training.trainer import run_training

    return run_training(config, on_progress)
