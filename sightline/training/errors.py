"""Errors of training."""

from __future__ import annotations

from sightline.errors import SightlineError


class TrainingDivergedError(SightlineError):
    """The loss is no number any more, or far above where it began; the last good checkpoint is kept."""

    code = "training-diverged"
