"""What tests of whole runs share: a small run, and one that is interrupted."""

from __future__ import annotations

from pathlib import Path

from sightline.training.config import TrainConfig
from sightline.training.losses import read_losses
from sightline.types import OnProgress


def config(checkpoint: Path, data: Path, out: Path) -> TrainConfig:
    """12 steps of 4 pairs; scored every 2 steps, a checkpoint every 4."""
    return TrainConfig(
        model=str(checkpoint),
        data=data / "captions.jsonl",
        images=data,
        out=out,
        epochs=4,
        batch_size=4,
        lr=1e-3,
        device="cpu",
        eval_ks=(2,),
        eval_every=2,
        checkpoint_steps=4,
    )


def losses(out: Path) -> list[dict[str, float]]:
    """The loss curve of a run."""
    return read_losses(out / "losses.jsonl")


class Interrupted(Exception):
    """Stands for the end of a process."""


def interrupt_at(step: int) -> OnProgress:
    """Ends a run once so many steps are done, as Ctrl-C does."""

    def on_progress(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == step:
            raise Interrupted

    return on_progress
