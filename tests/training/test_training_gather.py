"""Two ranks with half a batch each must learn what one rank with the whole batch learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn import functional

from sightline.training.gather import gather_with_gradient, rank, world_size
from sightline.training.objectives import itc_loss

PAIRS, QUERIES, WIDTH, JOINT = 6, 3, 5, 4
IMAGE_IDS = torch.tensor([0, 1, 2, 0, 4, 5])  # the first picture again, on the other rank
TEXT_IDS = torch.arange(PAIRS)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(PAIRS, QUERIES, WIDTH, generator=generator), torch.randn(
        PAIRS, WIDTH, generator=generator
    )


def loss_and_gradient(rows: slice) -> tuple[float, Tensor]:
    images, texts = batch()
    weight = torch.linspace(-1, 1, WIDTH * JOINT).view(WIDTH, JOINT).requires_grad_()
    tokens = functional.normalize(images[rows] @ weight, dim=-1)
    vectors = functional.normalize(texts[rows] @ weight, dim=-1)
    loss = itc_loss(tokens, vectors, 0.2, IMAGE_IDS[rows], TEXT_IDS[rows]).loss
    loss.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    return loss.item(), weight.grad


def half(number: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    loss, gradient = loss_and_gradient(slice(number * 3, number * 3 + 3))
    dist.all_reduce(gradient)
    total = torch.tensor(loss)
    dist.all_reduce(total)
    if number == 0:
        torch.save({"loss": total / 2, "gradient": gradient / 2}, f"{folder}/result.pt")
    dist.destroy_process_group()


def test_one_rank_gathers_nothing() -> None:
    local = torch.ones(2, 3)
    assert (rank(), world_size()) == (0, 1)
    assert gather_with_gradient(local) is local


@pytest.mark.timeout(90)
def test_two_ranks_have_the_loss_and_gradient_of_one(tmp_path: Path) -> None:
    loss, gradient = loss_and_gradient(slice(None))
    mp.spawn(half, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call,attr-defined,unused-ignore]
    result = torch.load(tmp_path / "result.pt", weights_only=True)
    torch.testing.assert_close(result["loss"], torch.tensor(loss))
    torch.testing.assert_close(result["gradient"], gradient)
