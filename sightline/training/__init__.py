"""BLIP-2's objectives, and a trainer that fine-tunes a checkpoint on captioned pictures.

``run(TrainConfig)`` is what the command line calls; nothing heavy is imported before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.training.answer_config import AnswerConfig
from sightline.training.config import TrainConfig

if TYPE_CHECKING:
    from sightline.training.answer_report import AnswerReport
    from sightline.training.report import TrainReport
    from sightline.training.trainee import OnStep
    from sightline.types import OnProgress, OnRemark

__all__ = ["AnswerConfig", "TrainConfig", "run", "run_answers"]


def run(
    config: TrainConfig,
    on_progress: OnProgress | None = None,
    on_step: OnStep | None = None,
    on_remark: OnRemark | None = None,
) -> TrainReport:
    """Train, and write to ``config.out`` a checkpoint that stock transformers loads, and a report.

    From the first step on ``config.out`` holds a model, the best so far by validation, whatever ends the run.
    ``on_progress`` is told how far each stage is, ``on_step`` the losses of each step, ``on_remark``
    sentences that whoever waits should read: what the disk will hold, and which objective is left out.

    Raises:
        InputError: the data, or what was asked of the model, cannot be used.
        ConflictError: the folder holds a run that this one does not continue, or another model.
        NoRoomError: the disk is too small for what would be written, of which nothing was.
        StorageError: the disk became full, or refuses; the best model so far is kept.
        TrainingDivergedError: the loss left all bounds; the best model so far and checkpoints are kept.
        ModelUnavailableError: neither a folder nor a reachable checkpoint.
        CheckpointError: the checkpoint is no BLIP-2; others cannot be trained here.
    """
    from sightline.training.trainer import Listener, run_training

    return run_training(config, Listener(on_progress, on_step, on_remark))


def run_answers(
    config: AnswerConfig,
    on_progress: OnProgress | None = None,
    on_step: OnStep | None = None,
    on_remark: OnRemark | None = None,
) -> AnswerReport:
    """Stage 2 or instruction tuning of a model that writes; as ``run`` in all else.

    Raises: what ``run`` raises; CheckpointError: the checkpoint is none of BLIP-2's stage 2 and no
    InstructBLIP.
    """
    from sightline.training.answer_trainer import run_answer_training
    from sightline.training.trainer import Listener

    return run_answer_training(config, Listener(on_progress, on_step, on_remark))
