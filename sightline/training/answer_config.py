"""What ``sightline train --stage 2`` and ``--stage instruct`` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

AnswerStage = Literal["2", "instruct"]
"""``2``: captions (BLIP-2's second stage); ``instruct``: rows of picture, question and answer
(InstructBLIP).
"""


@dataclass(frozen=True)
class AnswerConfig:
    """One run of stage 2 or of instruction tuning; the image encoder is frozen always.

    ``prompt`` stands before every caption, or is the instruction to write one. ``{question}`` in
    ``wording`` is each row's question. ``batch_size`` counts pairs per device; an epoch sees every picture
    (stage 2, its captions take turns) or every row (instruct) once. ``lr`` suits released weights.
    """

    stage: AnswerStage
    model: str
    data: Path
    images: Path
    out: Path
    prompt: str = ""
    wording: str = "{question}"
    freeze_qformer: bool = False
    freeze_language: bool = True
    epochs: int = 5
    batch_size: int = 16
    lr: float = 1e-5
    weight_decay: float = 0.05
    warmup: float = 0.05
    text_limit: int = 128
    answer_limit: int = 64
    clip_norm: float = 1.0
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    device: str | None = None
    seed: int = 0
    resume: bool = False
    checkpoint_steps: int | None = None
    eval_every: int | None = None
    eval_rows: int = 200
    cache: Path | None = None
    revision: str | None = None
    cache_dir: Path | None = None
