"""Optimisers and schedule of both stages, and checkpoints that resume exactly."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from demo.training.half import has_fast_bfloat16


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal by Newton-Schulz (Jordan et al. 2024), scaled to AdamW's usual size.

    ``torch.optim.Muon`` does the same, but always iterates in bfloat16, which CPUs without bfloat16 units
    only emulate: there it took a quarter of a step.
    """

    def __init__(
        self, parameters: list[Tensor], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonal(parameter.grad.lerp(average, group["momentum"]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * 0.2 * max(parameter.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Five quintic Newton-Schulz steps towards the nearest matrix with singular values near 1."""
    x = matrix / (matrix.norm() + 1e-7)
    wide: Tensor = x if x.shape[0] <= x.shape[1] else x.T
    if has_fast_bfloat16():
        wide = wide.bfloat16()
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return (wide if x.shape[0] <= x.shape[1] else wide.T).to(matrix.dtype)


def build_optimisers(
    modules: Iterable[nn.Module], lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside transformer layers, AdamW for everything else (Jordan et al. 2024)."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            inner = parameter.ndim == 2 and ".layer" in f".{name}"
            (matrices if inner else others).append(parameter)
    return [
        Muon(matrices, lr, weight_decay),
        torch.optim.AdamW(others, lr=lr, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def set_rate(
    optimisers: list[torch.optim.Optimizer], peak: float, step: int, steps: int, warmup: int = 60
) -> None:
    """Linear warm-up, constant, then a linear fall to zero over the last half."""
    scale = min(1.0, (step + 1) / warmup, 2.0 * (1.0 - step / steps))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = peak * max(scale, 0.0)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training checkpoint in one step: the old one stays until the new one is whole."""
    aside = path.with_suffix(".tmp")
    torch.save(state, aside)
    os.replace(aside, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """The last checkpoint of our own working folder; None before the first."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
