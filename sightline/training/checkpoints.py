"""Checkpoints of a running training: weights as safetensors, the optimiser's state, the step; each a folder
that appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline.training.publication import writing_tensors

KEPT = 2
"""How many checkpoints stay: the last, and the one before in case the last is where a run went wrong."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk; ``step`` steps are done."""

    folder: Path
    step: int
    settings: dict[str, Any]

    def weights(self) -> dict[str, Tensor]:
        """The trained parameters."""
        return load_file(self.folder / "weights.safetensors")

    def optimiser(self) -> dict[str, Any]:
        """The optimiser's state (tensors and numbers only; no code is unpickled)."""
        state: dict[str, Any] = torch.load(
            self.folder / "optimiser.pt", map_location="cpu", weights_only=True
        )
        return state


def save(
    parent: Path,
    step: int,
    weights: Mapping[str, Tensor],
    optimiser: dict[str, Any],
    settings: dict[str, Any],
) -> Path:
    """Write ``step-…`` below ``parent`` aside, rename it, and drop all but the last two.

    Raises:
        StorageError: the disk is full or refuses; nothing of this step is left behind.
    """
    aside = parent / f".step-{step:08d}.new"
    shutil.rmtree(aside, ignore_errors=True)
    final = parent / f"step-{step:08d}"
    try:
        with writing_tensors(parent):
            aside.mkdir(parents=True)
            plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
            save_file(plain, aside / "weights.safetensors")
            torch.save(optimiser, aside / "optimiser.pt")
            (aside / "state.json").write_text(json.dumps({"step": step, "settings": settings}))
            shutil.rmtree(final, ignore_errors=True)
            os.rename(aside, final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for old in sorted(parent.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    return final


def latest(parent: Path) -> Checkpoint | None:
    """The last whole checkpoint below ``parent``."""
    folders = sorted(parent.glob("step-*"))
    if not folders:
        return None
    state = json.loads((folders[-1] / "state.json").read_text())
    return Checkpoint(folders[-1], int(state["step"]), state["settings"])
