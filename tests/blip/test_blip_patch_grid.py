"""Transform coding: bits where they pay, and what comes back is as near as they promise."""

from __future__ import annotations

import torch

from sightline.blip.patch_grid import fit_grid


def correlated(images: int, seed: int = 0) -> torch.Tensor:
    """Latents ``[images,6,4]``: smooth over the positions, of falling variance, around a mean."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(images, 6, 4, generator=generator) * torch.tensor([8.0, 4.0, 2.0, 1.0])
    return steps.cumsum(dim=1) + 3.0


def test_the_axes_are_orthogonal_and_leave_positions_uncorrelated() -> None:
    sample = correlated(2000)
    grid = fit_grid(lambda: sample.split(300), 20)
    assert torch.allclose(grid.axes.T @ grid.axes, torch.eye(6), atol=1e-5)
    turned = grid.axes.T @ (sample - sample.mean(dim=0))
    products = torch.einsum("npr,nqr->pq", turned, turned)
    assert float((products - products.diag().diag()).abs().max()) < 1e-3 * float(products.max())
    assert torch.allclose(grid.deviations, turned.square().mean(dim=0).sqrt(), rtol=1e-3)


def test_no_bit_would_be_better_elsewhere() -> None:
    losses = torch.tensor([1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.00104, 0.000304, 0.0000877])
    grid = fit_grid(lambda: [correlated(2000)], 9)
    assert int(grid.bits.sum()) == 72
    assert grid.bytes == 9
    variances, bits = grid.deviations.square(), grid.bits.long()
    lost = (variances * (losses[(bits - 1).clamp_min(0)] - losses[bits]))[bits > 0].min()
    gained = (variances * (losses[bits] - losses[(bits + 1).clamp_max(8)]))[bits < 8].max()
    assert float(lost) >= float(gained) * (1 - 1e-4)


def test_the_error_is_what_the_bits_promise() -> None:
    losses = torch.tensor([1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.00104, 0.000304, 0.0000877])
    grid = fit_grid(lambda: [correlated(4000)], 9)
    judged = correlated(1000, seed=1)
    error = float((grid.decode(*grid.encode(judged)) - judged).square().sum(dim=(1, 2)).mean())
    promised = float((grid.deviations.square() * losses[grid.bits.long()]).sum())
    assert 0.8 * promised < error < 1.5 * promised


def test_what_is_stored_has_the_size_that_was_asked_for() -> None:
    for total in (1, 5, 9, 24):
        grid = fit_grid(lambda: [correlated(500)], total)
        codes, scales = grid.encode(correlated(3))
        assert (codes.shape, codes.dtype) == ((3, 1, total), torch.int8)
        assert (scales.shape, scales.dtype) == ((3, 1), torch.float16)
