"""The Karpathy protocol: recall of text→image and image→text search by ITC, by ITM and by their sum.

``run(EvalConfig)`` is what the command line calls; nothing heavy is imported before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.evaluation.config import EvalConfig

if TYPE_CHECKING:
    from sightline.evaluation.report import EvalReport
    from sightline.types import OnProgress, OnRemark

__all__ = ["EvalConfig", "run"]


def run(
    config: EvalConfig, on_progress: OnProgress | None = None, on_remark: OnRemark | None = None
) -> EvalReport:
    """Evaluate a checkpoint on a data set; with ``config.out``, write report.json, report.md and recall.png.

    ``on_progress`` is told how far each stage is, ``on_remark`` what the disk will hold.

    Raises:
        InputError: the data cannot be read, or no picture of it can.
        NoRoomError: the disk is too small for the pictures' patches; nothing was written.
        ModelUnavailableError: neither a folder nor a reachable checkpoint.
        CheckpointError: the model cannot embed.
    """
    from sightline.evaluation.evaluator import run_evaluation

    return run_evaluation(config, on_progress, on_remark)
