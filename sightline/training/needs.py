"""How much disk a run takes, before it takes any."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sightline.blip.checkpoint import weight_files
from sightline.store.room import Need
from sightline.training.checkpoints import KEPT
from sightline.training.config import TrainConfig
from sightline.training.prepare import Filling
from sightline.training.publication import WEIGHTS

ADVICE = "free some room there, or name another place with --cache or --out"

FP32 = 4
STATE = 3 * FP32
"""Bytes of a trained parameter in a checkpoint: itself and AdamW's two moments."""


def run_needs(
    config: TrainConfig, source: Path, learner: nn.Module, fillings: Sequence[Filling]
) -> list[Need]:
    """Caches of pictures, checkpoints (one is written while the kept ones are there), and the model twice.

    With a trained image encoder the pictures that measure are seen once more at the end.
    """
    caches = {filling.plan.folder: filling.need for filling in fillings}
    needs = list(caches.values())
    if not config.freeze_vision:
        needs.append(
            Need("the same by the trained image encoder", fillings[1].need.folder, fillings[1].need.bytes)
        )
    return [*needs, *model_needs(config.out, source, learner)]


def model_needs(out: Path, source: Path, learner: nn.Module) -> list[Need]:
    """What any run writes below ``out``: checkpoints of the trained parameters, and the model. What a run
    that goes on has written already is not counted again.
    """
    trained = sum(p.numel() for p in learner.parameters() if p.requires_grad)
    kept = sum(path.stat().st_size for path in (out / "checkpoints").rglob("*") if path.is_file())
    model = sum(path.stat().st_size for path in out.glob(WEIGHTS))
    return [
        Need("checkpoints", out, max(0, (KEPT + 1) * STATE * trained - kept)),
        Need("the model", out, max(0, 2 * FP32 * _parameters(source) - model)),
    ]


def _parameters(source: Path) -> int:
    """How many numbers the weight files hold, from their headers."""
    count = 0
    for path in weight_files(source):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return count
