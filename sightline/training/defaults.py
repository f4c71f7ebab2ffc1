"""What a run trains and how fast, where it was not told: by what its checkpoint brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sightline.blip.itg import FILE as ITG_FILE
from sightline.errors import InputError
from sightline.training.config import OBJECTIVES, Objective, TrainConfig
from sightline.training.trainee import Optimisation

TUNED_LR, FRESH_LR = 1e-5, 1e-4
"""Peak rates for weights that know something already (BLIP-2, appendix: 1e-5 for retrieval) and for weights
that are drawn anew (1e-4 in the paper's first stage)."""
FRESH_HARD_AFTER = 0.25
"""Hard negatives from the first step leave an ITM that knows nothing at chance for hundreds of steps."""
LEAST_EVAL_STEPS = 200


@dataclass(frozen=True)
class Chosen:
    """``objectives`` are trained by ``optimisation``; ``remarks`` are sentences on what was left out."""

    objectives: tuple[Objective, ...]
    optimisation: Optimisation
    remarks: tuple[str, ...] = ()


def choose(config: TrainConfig, source: Path, can_decode: bool) -> Chosen:
    """Fill in what ``config`` leaves open for the checkpoint in ``source``.

    ``can_decode``: its tokenizer has [DEC], which captions begin with.

    Raises:
        InputError: captions are asked for by name and cannot be learned without [DEC].
    """
    fresh = config.fresh != "none"
    objectives, remarks = _objectives(config, (source / ITG_FILE).exists() or fresh, can_decode)
    if "itg" in objectives and not can_decode:
        raise InputError(f"{config.model} has no [DEC] token and cannot learn captions; leave itg out.")
    usual_lr, usual_hard_after = (FRESH_LR, FRESH_HARD_AFTER) if fresh else (TUNED_LR, 0.0)
    optimisation = Optimisation(
        lr=usual_lr if config.lr is None else config.lr,
        vision_lr=config.vision_lr,
        weight_decay=config.weight_decay,
        warmup=config.warmup,
        hard_after=usual_hard_after if config.hard_after is None else config.hard_after,
        clip_norm=config.clip_norm,
        seed=config.seed,
    )
    return Chosen(objectives, optimisation, remarks)


def _objectives(
    config: TrainConfig, has_head: bool, can_decode: bool
) -> tuple[tuple[Objective, ...], tuple[str, ...]]:
    if config.objectives is not None:
        return config.objectives, ()
    if has_head and can_decode:
        return OBJECTIVES, ()
    lack = "ITG head" if can_decode else "[DEC] token"
    remark = (
        f"Captions (ITG) are not trained, because {config.model} brings no {lack} and a new head's gradient "
        "would go through the Q-Former that ITC and ITM share; ask for them with --objectives itc,itm,itg."
    )
    if not can_decode:
        remark = f"Captions (ITG) are not trained, because the tokenizer of {config.model} has no {lack}."
    return ("itc", "itm"), (remark,)
