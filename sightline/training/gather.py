"""All-gather over the ranks of a distributed run; the identity when there is only one."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks, 1 when ``torch.distributed`` is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This rank, 0 when ``torch.distributed`` is not initialised."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _all_gather(local: Tensor) -> Tensor:
    parts = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """Forward: concatenation over ranks. Backward: the sum of all ranks' gradients of this rank's rows.

    With the mean over ranks that data-parallel training takes of parameter gradients, this is the gradient of
    the mean of all ranks' losses, as if one machine had seen the whole batch.
    """

    @staticmethod
    def forward(local: Tensor) -> Tensor:
        return _all_gather(local)

    @staticmethod
    def setup_context(
        ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: Tensor
    ) -> None:
        ctx.rows = inputs[0].shape[0]  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        rows: int = ctx.rows  # type: ignore[attr-defined]
        return total[rank() * rows : (rank() + 1) * rows]


def gather_with_gradient(local: Tensor) -> Tensor:
    """``[B, …]`` of this rank to ``[R·B, …]`` of all, differentiable; every rank brings the same ``B``."""
    if world_size() == 1:
        return local
    return _Gather.apply(local)  # type: ignore[no-any-return,no-untyped-call]


def gather_without_gradient(local: Tensor) -> Tensor:
    """The same for what needs no gradient, ids for instance."""
    return local if world_size() == 1 else _all_gather(local.detach())
