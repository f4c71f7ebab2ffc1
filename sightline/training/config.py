"""What ``sightline train`` can be told. Plain values: the command line builds its options from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.evaluation.config import TextHandling

Objective = Literal["itc", "itm", "itg"]
OBJECTIVES: tuple[Objective, ...] = ("itc", "itm", "itg")


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    ``fresh`` draws weights anew instead of taking the checkpoint's: of the Q-Former with its heads, or of the
    image encoder too. ``batch_size`` counts pairs per device. An epoch sees every picture once, with one of
    its captions, which take turns. ITM's hard negatives begin after the share ``hard_after`` of the run.
    """

    model: str
    data: Path
    images: Path
    out: Path
    objectives: tuple[Objective, ...] = OBJECTIVES
    freeze_vision: bool = True
    fresh: Literal["none", "qformer", "all"] = "none"
    epochs: int = 20
    batch_size: int = 32
    lr: float = 1e-4
    vision_lr: float | None = None
    weight_decay: float = 0.05
    warmup: float = 0.05
    hard_after: float = 0.25
    label_smoothing: float = 0.1
    temperature: float = 0.07
    text_limit: int = 32
    text: TextHandling = "transformers"
    clip_norm: float = 1.0
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    device: str | None = None
    seed: int = 0
    resume: bool = False
    checkpoint_steps: int | None = None
    eval_ks: tuple[int, ...] = (16, 64)
    eval_pictures: int = 500
    cache: Path | None = None
    revision: str | None = None
    cache_dir: Path | None = None
