"""What ``sightline train`` can be told. Plain values: the command line builds its options from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.evaluation.config import TextHandling

Objective = Literal["itc", "itm", "itg"]
OBJECTIVES: tuple[Objective, ...] = ("itc", "itm", "itg")
Precision = Literal["auto", "no", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "no", "bf16", "fp16")
Fresh = Literal["none", "qformer", "all"]
FRESH: tuple[Fresh, ...] = ("none", "qformer", "all")


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    ``fresh`` draws weights anew instead of taking the checkpoint's: of the Q-Former with its heads, or of the
    image encoder too. ``batch_size`` counts pairs per device. An epoch sees every picture once, with one of
    its captions, which take turns. ITM's hard negatives begin after the share ``hard_after`` of the run.

    What is None is chosen by what is trained (``training/defaults.py``): ``objectives`` are all that the
    checkpoint has heads for, ``lr`` is 1e-5 and ``hard_after`` 0, and with ``fresh`` 1e-4 and 0.25;
    ``vision_lr`` is ``lr``; ``checkpoint_steps`` is an epoch; ``eval_every`` (steps) an epoch, but 200 steps
    at least. ``eval_every`` scores a sample of ``validation_pictures`` pictures among ``validation_k``
    candidates; ``eval_ks`` and ``eval_pictures`` are of the reports before and after. ``augment`` shows the
    image encoder random crops and mirror images.
    """

    model: str
    data: Path
    images: Path
    out: Path
    objectives: tuple[Objective, ...] | None = None
    freeze_vision: bool = True
    fresh: Fresh = "none"
    epochs: int = 20
    batch_size: int = 32
    lr: float | None = None
    vision_lr: float | None = None
    weight_decay: float = 0.05
    warmup: float = 0.05
    hard_after: float | None = None
    label_smoothing: float = 0.1
    temperature: float = 0.07
    augment: bool = False
    text_limit: int = 32
    text: TextHandling = "transformers"
    clip_norm: float = 1.0
    precision: Precision = "auto"
    device: str | None = None
    seed: int = 0
    resume: bool = False
    checkpoint_steps: int | None = None
    eval_every: int | None = None
    validation_pictures: int = 100
    validation_k: int = 16
    eval_ks: tuple[int, ...] = (16, 64)
    eval_pictures: int = 500
    cache: Path | None = None
    revision: str | None = None
    cache_dir: Path | None = None
