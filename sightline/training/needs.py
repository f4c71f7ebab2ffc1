"""How much disk a run takes, before it takes any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sightline.blip.checkpoint import list_tensors
from sightline.store.room import Need
from sightline.training.checkpoints import KEPT
from sightline.training.config import TrainConfig
from sightline.training.prepare import Filling

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
    numbers = sum(entry.numbers for entry in list_tensors(source).values())
    return [*needs, *model_needs(config.out, learner, FP32 * numbers)]


def model_needs(out: Path, learner: nn.Module, model_bytes: int) -> list[Need]:
    """What any run writes below ``out``: checkpoints of the trained parameters, and the model. What a run
    that goes on has written already is not counted again.
    """
    trained = sum(p.numel() for p in learner.parameters() if p.requires_grad)
    kept = sum(path.stat().st_size for path in (out / "checkpoints").rglob("*") if path.is_file())
    model = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    return [
        Need("checkpoints", out, max(0, (KEPT + 1) * STATE * trained - kept)),
        Need("the model", out, max(0, 2 * model_bytes - model)),
    ]


def writer_bytes(source: Path, learner: nn.Module) -> int:
    """Of a model that writes: what is trained in fp32, the rest in the type that it has."""
    trained = {name for name, p in learner.named_parameters() if p.requires_grad}
    entries = list_tensors(source).values()
    return sum(FP32 * one.numbers if one.name in trained else one.end - one.start for one in entries)
