"""What the trainers have in common: the device, and a folder that is continued or left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline.errors import ConflictError, InputError
from sightline.training import checkpoints
from sightline.training.best import read_best
from sightline.training.publication import WEIGHTS, WHOLE


def make_accelerator(precision: str, device: str | None) -> Any:
    """accelerate's, in bf16 on GPUs that have it where ``precision`` is ``auto``."""
    import torch
    from accelerate import Accelerator

    if precision == "auto":
        on_gpu = torch.cuda.is_available() and device != "cpu"
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no"
    return Accelerator(mixed_precision=precision, cpu=device == "cpu")


def check_counts(config: object, names: Sequence[str]) -> None:
    """Raises InputError: one of these settings is a number below 1."""
    for name in names:
        value = vars(config)[name]
        if value is not None and value < 1:
            raise InputError(f"The setting {name} is a whole number from 1 on, not {value}.")


def check_folder(out: Path, resume: bool) -> None:
    """Raises ConflictError: the folder holds a run that is not to be continued, or another model."""
    if resume:
        return
    if checkpoints.latest(out / "checkpoints") or read_best(out) or (out / WHOLE).is_dir():
        raise ConflictError(f"{out} already holds a run; add --resume or name another folder.")
    if (out / WEIGHTS).exists():
        raise ConflictError(f"{out} already holds a model; name another folder.")


def check_resumed(out: Path, settings: dict[str, Any]) -> None:
    """Raises ConflictError: the run in the folder was started with other settings."""
    done = checkpoints.latest(out / "checkpoints") or read_best(out)
    old = done.settings if done else settings
    changed = [name for name, value in settings.items() if old.get(name) != value]
    if changed:
        was = ", ".join(f"{name} {old.get(name)} → {settings[name]}" for name in changed)
        raise ConflictError(f"The run in {out} was started with other settings: {was}.")
