"""The optimisation loop: step by step, resumable at any checkpoint with the same losses.

Nothing random outlives a step: dropout and negatives are seeded by (seed, step, rank), batches by (seed,
epoch). So a checkpoint is weights, optimiser state and a step number, and a resumed run on the same machine
repeats the losses of an uninterrupted one: exactly on a CPU, up to the order of atomic additions on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightline.training import checkpoints
from sightline.training.config import TrainConfig
from sightline.training.data import Batches
from sightline.training.errors import TrainingDivergedError
from sightline.training.guard import DivergenceGuard
from sightline.training.learner import Learner
from sightline.training.losses import LossLine, LossLog
from sightline.training.order import hardness, schedule
from sightline.types import OnProgress


@dataclass
class Run:
    """What a loop turns on: ``accelerator`` is accelerate's, ``settings`` what a resumed run must share."""

    config: TrainConfig
    accelerator: Any
    learner: Learner
    batches: Batches
    steps: int
    checkpoint_steps: int
    settings: dict[str, Any]
    on_progress: OnProgress | None = None

    @property
    def folder(self) -> Path:
        """Where checkpoints go."""
        return self.config.out / "checkpoints"

    def trained(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.learner.named_parameters() if p.requires_grad}


def freeze(learner: Learner, config: TrainConfig) -> None:
    """Leave only what the objectives use to be trained."""
    unused = []
    if "itm" not in config.objectives:
        unused.append("network.itm_head.")
    if "itg" not in config.objectives:
        unused.append("head.")
    if "itc" not in config.objectives:
        unused += ["temperature", "network.text_projection.", "network.vision_projection."]
    if config.freeze_vision:
        unused.append("network.vision_model.")
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(not any(name.startswith(prefix) for prefix in unused))


def build_optimiser(learner: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; no decay for biases, norms and the temperature, a rate of its own for the image encoder.

    Each group carries its peak rate as ``peak_lr``.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            peak = config.vision_lr if ".vision_model." in f".{name}" else config.lr
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((config.lr if peak is None else peak, decay), []).append(parameter)
    parameters = [
        {"params": members, "lr": peak, "peak_lr": peak, "weight_decay": decay}
        for (peak, decay), members in groups.items()
    ]
    return torch.optim.AdamW(parameters, betas=(0.9, 0.98), eps=1e-8)


def train(run: Run) -> list[LossLine]:
    """Train from the last checkpoint, or from the start; returns the whole loss curve.

    Raises:
        TrainingDivergedError: the run will not recover; names the last good checkpoint.
    """
    optimiser = build_optimiser(run.learner, run.config)
    start = _resume(run, optimiser)
    learner, optimiser = run.accelerator.prepare(run.learner, optimiser)
    log = LossLog(run.config.out / "losses.jsonl", start)
    run.accelerator.wait_for_everyone()
    if run.accelerator.is_main_process:
        log.open()
    guard = DivergenceGuard()
    for line in log.lines:
        guard.check(int(line["step"]), line["total"])
    try:
        for line in _steps(run, learner, optimiser, start):
            guard.check(int(line["step"]), line["total"], line.pop("gradient"))
            _apply(run, optimiser)
            log.append(line)
            _after_step(run, optimiser, int(line["step"]) + 1)
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"{error} {_advice(run)}") from error
    finally:
        log.close()
    return log.lines


def _steps(run: Run, learner: nn.Module, optimiser: Any, start: int) -> Iterator[LossLine]:
    """One line a step, its gradients waiting to be applied."""
    accelerator, config = run.accelerator, run.config
    rank = int(accelerator.process_index)
    learner.train()
    for step, batch in enumerate(run.batches.stream(start, run.steps, rank), start):
        for group in optimiser.param_groups:
            group["lr"] = schedule(step, run.steps, config.warmup, group["peak_lr"])
        seed = seed_step(config.seed, step, rank)
        hard = hardness(step, run.steps, config.hard_after)
        losses = learner(batch.to(accelerator.device), hard, seed)
        total = torch.stack(list(losses.values())).sum()
        accelerator.backward(total)
        norm = accelerator.clip_grad_norm_(list(run.trained().values()), config.clip_norm)
        means = accelerator.reduce(torch.stack([total, *losses.values()]).detach(), reduction="mean").tolist()
        yield {
            "step": step,
            **dict(zip(["total", *losses], means, strict=True)),
            "lr": optimiser.param_groups[0]["lr"],
            "hardness": hard,
            "temperature": run.learner.temperature.item(),
            # fp16's scaler meets infinite gradients on purpose and skips their step.
            "gradient": 0.0 if accelerator.mixed_precision == "fp16" else float(norm),
        }


def _apply(run: Run, optimiser: Any) -> None:
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    run.learner.clamp_temperature()


def seed_step(seed: int, step: int, rank: int) -> int:
    """Seed torch for one step, and return a seed for drawing negatives."""
    dropout, negatives = np.random.SeedSequence([seed, 3, step, rank]).generate_state(2)
    torch.manual_seed(int(dropout))
    return int(negatives)


def _after_step(run: Run, optimiser: Any, done: int) -> None:
    if run.on_progress is not None:
        run.on_progress("train", done, run.steps)
    if done % run.checkpoint_steps and done != run.steps:
        return
    if run.accelerator.is_main_process:
        state = {"optimiser": optimiser.state_dict()}
        if run.accelerator.scaler is not None:
            state["scaler"] = run.accelerator.scaler.state_dict()
        checkpoints.save(run.folder, done, run.trained(), state, run.settings)
    run.accelerator.wait_for_everyone()


def _resume(run: Run, optimiser: torch.optim.Optimizer) -> int:
    """Put the last checkpoint's state in place; the step to go on from."""
    checkpoint = checkpoints.latest(run.folder)
    if checkpoint is None:
        return 0
    weights, state = checkpoint.weights(), checkpoint.optimiser()
    run.learner.load_state_dict(weights, strict=False)
    optimiser.load_state_dict(state["optimiser"])
    if "scaler" in state and run.accelerator.scaler is not None:
        run.accelerator.scaler.load_state_dict(state["scaler"])
    return checkpoint.step


def _advice(run: Run) -> str:
    checkpoint = checkpoints.latest(run.folder)
    if checkpoint is None:
        return "There is no checkpoint yet. Try a smaller learning rate (--lr)."
    return (
        f"The last good checkpoint, of step {checkpoint.step}, is kept in {checkpoint.folder}. "
        "Try a smaller learning rate (--lr)."
    )
