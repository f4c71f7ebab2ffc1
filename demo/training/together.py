"""Several processes that learn one model, started by ``torchrun``: each takes its share of every step's rows.

Small matrices keep one core busy and no more; two processes with a core each are nearly twice as fast as
one with two threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def start_together() -> None:
    """Meet the other processes, if ``torchrun`` started some."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo")


def count() -> int:
    """How many processes learn."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def share(rows: Sequence[T]) -> list[T]:
    """This process's rows; of rows in order of length every process gets short and long ones."""
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    return list(rows[rank :: count()])


def wait() -> None:
    """Go on when all are here."""
    if distributed.is_initialized():
        distributed.barrier()


def add_gradients(parameters: Iterable[Tensor]) -> None:
    """Make every process's gradients the sum of all."""
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))
