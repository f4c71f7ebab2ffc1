"""The optimisation loop: step by step, resumable at any checkpoint with the same losses.

Nothing random outlives a step: dropout and negatives are seeded by (seed, step, rank), batches by (seed,
epoch). So a checkpoint is weights, optimiser state and a step number, and a resumed run on the same machine
repeats the losses of an uninterrupted one: exactly on a CPU, up to the order of atomic additions on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightline.training import checkpoints
from sightline.training.best import BestSoFar
from sightline.training.errors import TrainingDivergedError
from sightline.training.guard import DivergenceGuard
from sightline.training.losses import LossLine, LossLog
from sightline.training.order import hardness, schedule
from sightline.training.trainee import Batches, OnStep, Optimisation, Trainee
from sightline.types import OnProgress


@dataclass
class Run:
    """What a loop turns on.

    ``accelerator`` is accelerate's, ``settings`` what a resumed run must share, ``checkpoint_steps`` and
    ``eval_steps`` after how many steps each a checkpoint is written and the model is scored.
    """

    out: Path
    accelerator: Any
    learner: Trainee[Any]
    batches: Batches[Any]
    optimisation: Optimisation
    steps: int
    checkpoint_steps: int
    eval_steps: int
    settings: dict[str, Any]
    best: BestSoFar
    on_progress: OnProgress | None = None
    on_step: OnStep | None = None

    @property
    def folder(self) -> Path:
        """Where checkpoints go."""
        return self.out / "checkpoints"

    def trained(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.learner.named_parameters() if p.requires_grad}


def build_optimiser(learner: nn.Module, wanted: Optimisation) -> torch.optim.AdamW:
    """AdamW; no decay for biases, norms and the temperature, a rate of its own for the image encoder.

    Each group carries its peak rate as ``peak_lr``.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            peak = wanted.vision_lr if ".vision_model." in f".{name}" else wanted.lr
            decay = wanted.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((wanted.lr if peak is None else peak, decay), []).append(parameter)
    parameters = [
        {"params": members, "lr": peak, "peak_lr": peak, "weight_decay": decay}
        for (peak, decay), members in groups.items()
    ]
    return torch.optim.AdamW(parameters, betas=(0.9, 0.98), eps=1e-8)


def train(run: Run) -> list[LossLine]:
    """Train from the last checkpoint, or from the start; returns the whole loss curve.

    Whatever ends it, ``run.out`` holds the best model so far: the one it starts from, then the better ones.

    Raises:
        TrainingDivergedError: the run will not recover; names the last good checkpoint.
        StorageError: the disk is full or refuses.
    """
    optimiser = build_optimiser(run.learner, run.optimisation)
    start = _resume(run, optimiser)
    learner, optimiser = run.accelerator.prepare(run.learner, optimiser)
    log = LossLog(run.out / "losses.jsonl", start)
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
            _after_step(run, optimiser, line)
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"{error} {_advice(run)}") from error
    finally:
        log.close()
    return log.lines


def _steps(run: Run, learner: nn.Module, optimiser: Any, start: int) -> Iterator[LossLine]:
    """One line a step, its gradients waiting to be applied."""
    accelerator, wanted = run.accelerator, run.optimisation
    rank = int(accelerator.process_index)
    learner.train()
    for step, batch in enumerate(run.batches.stream(start, run.steps, rank), start):
        for group in optimiser.param_groups:
            group["lr"] = schedule(step, run.steps, wanted.warmup, group["peak_lr"])
        seed = seed_step(wanted.seed, step, rank)
        hard = hardness(step, run.steps, wanted.hard_after)
        losses = learner(batch.to(accelerator.device), hard, seed)
        total = torch.stack(list(losses.values())).sum()
        accelerator.backward(total)
        norm = accelerator.clip_grad_norm_(list(run.trained().values()), wanted.clip_norm)
        means = accelerator.reduce(torch.stack([total, *losses.values()]).detach(), reduction="mean").tolist()
        yield {
            "step": step,
            **dict(zip(["total", *losses], means, strict=True)),
            "lr": optimiser.param_groups[0]["lr"],
            "hardness": hard,
            **run.learner.told(),
            # fp16's scaler meets infinite gradients on purpose and skips their step.
            "gradient": 0.0 if accelerator.mixed_precision == "fp16" else float(norm),
        }


def _apply(run: Run, optimiser: Any) -> None:
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    run.learner.settle()


def seed_step(seed: int, step: int, rank: int) -> int:
    """Seed torch for one step, and return a seed for drawing negatives."""
    dropout, negatives = np.random.SeedSequence([seed, 3, step, rank]).generate_state(2)
    torch.manual_seed(int(dropout))
    return int(negatives)


def _after_step(run: Run, optimiser: Any, line: LossLine) -> None:
    done = int(line["step"]) + 1
    if run.on_progress is not None:
        run.on_progress("train", done, run.steps)
    if run.on_step is not None:
        run.on_step(done, run.steps, line)
    if _is_due(done, run.checkpoint_steps, run.steps):
        _at_once(run, lambda: _save(run, optimiser, done))
    if _is_due(done, run.eval_steps, run.steps):
        _at_once(run, lambda: run.best.consider(done))


def open_best(run: Run) -> None:
    """Make ``run.out`` a model before the first step, unless an earlier run has."""
    _at_once(run, run.best.open)


def _is_due(done: int, every: int, steps: int) -> bool:
    return done % every == 0 or done == steps


def _at_once(run: Run, act: Callable[[], object]) -> None:
    """Let the first process act, while the others wait."""
    if run.accelerator.is_main_process:
        act()
    run.accelerator.wait_for_everyone()


def _save(run: Run, optimiser: Any, done: int) -> None:
    state = {"optimiser": optimiser.state_dict()}
    if run.accelerator.scaler is not None:
        state["scaler"] = run.accelerator.scaler.state_dict()
    checkpoints.save(run.folder, done, run.trained(), state, run.settings)


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
    checkpoint, best = checkpoints.latest(run.folder), run.best.best
    last = "There is no checkpoint yet. "
    if checkpoint is not None:
        last = f"The last good checkpoint, of step {checkpoint.step}, is kept in {checkpoint.folder}. "
    held = f"{run.out} holds the best model so far, of step {best.step}. " if best else ""
    return f"{last}{held}Try a smaller learning rate (--lr)."
