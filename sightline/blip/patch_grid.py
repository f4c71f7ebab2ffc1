"""Transform coding of a latent over the patches of an image, in whole bytes for each image.

Neighbouring patches are alike, so a latent z [P,R] holds far less than its P·R numbers. Its rows are turned
by the principal axes Q of the positions, w = Qᵀ(z − mean), and every w_pr gets as many bits of a uniform
scalar quantiser as pay: greedily, each bit where it lowers the squared error most (reverse water-filling;
Gersho and Gray, "Vector Quantization and Signal Compression", ch. 8). Axes and bits are fixed at the fit; one
scale for each image takes up how much there is to see in it.

Shapes: K images · P patches · R latent rank · B bytes of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_BITS: Final = 8
_STEPS: Final = (0.0, 1.5958, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)
"""Step of the best uniform quantiser of a standard normal number with 0 to 8 bits (Max 1960, table II)."""
_LOSSES: Final = (1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.00104, 0.000304, 0.0000877)
"""… and its mean squared error."""


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """How a latent ``[P,R]`` becomes bytes; all tensors on the CPU."""

    mean: Tensor
    """``[P,R]`` fp32."""
    axes: Tensor
    """Q ``[P,P]`` fp32, orthogonal: row p is position p, column q the axis q."""
    deviations: Tensor
    """``[P,R]`` fp32 of w."""
    bits: Tensor
    """``[P,R]`` uint8: 0 to 8 for each w."""

    @property
    def bytes(self) -> int:
        """B."""
        return -(-int(self.bits.sum(dtype=torch.int64)) // 8)

    def encode(self, latent_KPR: Tensor) -> tuple[Tensor, Tensor]:
        """Bytes int8 ``[K,1,B]`` and scales fp16 ``[K,1]``, on the CPU."""
        mean_PR, axes_PQ, deviations_PR = (
            t.to(latent_KPR.device) for t in (self.mean, self.axes, self.deviations)
        )
        turned_KPR = axes_PQ.T @ (latent_KPR.to(torch.float32) - mean_PR) / deviations_PR
        coded_KN = turned_KPR.cpu().flatten(1)[:, self._order()]
        scale_K = coded_KN.square().mean(dim=1).sqrt().to(torch.float16)
        # Not finite: the scale says so.
        units_KN = (coded_KN / scale_K.to(torch.float32).clamp_min(2.0**-24)[:, None]).nan_to_num()
        planes = [
            _to_bits(units_Kn.numpy(), bits)
            for bits, units_Kn in zip(self._depths(), units_KN.split(self._counts(), dim=1), strict=True)
        ]
        packed_KB = np.packbits(np.concatenate(planes, axis=1), axis=1)
        return torch.from_numpy(packed_KB.view(np.int8))[:, None], scale_K[:, None]

    def decode(self, stored_K1B: Tensor, scales_K1: Tensor) -> Tensor:
        """The latent ``[K,P,R]`` fp32, up to what the coding lost."""
        device = stored_K1B.device
        planes = np.unpackbits(stored_K1B[:, 0].cpu().numpy().view(np.uint8), axis=1)
        units, start = [], 0
        for bits, count in zip(self._depths(), self._counts(), strict=True):
            units.append(_from_bits(planes[:, start : start + bits * count], bits))
            start += bits * count
        coded_KN = torch.from_numpy(np.concatenate(units, axis=1)) * scales_K1.cpu().to(torch.float32)
        turned_KN = torch.zeros(len(coded_KN), self.bits.numel())
        turned_KN[:, self._order()] = coded_KN
        turned_KPR = turned_KN.unflatten(1, tuple(self.bits.shape)).to(device)
        latent_KPR: Tensor = self.axes.to(device) @ (turned_KPR * self.deviations.to(device))
        return latent_KPR + self.mean.to(device)

    def _order(self) -> Tensor:
        """Places in the flat ``[P·R]`` of what is coded, by their bits."""
        flat = self.bits.flatten().to(torch.int64)
        order = torch.argsort(flat, stable=True)
        return order[int((flat == 0).sum()) :]

    def _depths(self) -> list[int]:
        return [bits for bits in range(1, MOST_BITS + 1) if bool((self.bits == bits).any())]

    def _counts(self) -> list[int]:
        return [int((self.bits == bits).sum()) for bits in self._depths()]


def fit_grid(latents: Callable[[], Iterable[Tensor]], total_bytes: int) -> PatchGrid:
    """The grid for latents ``[n,P,R]`` in at most so many bytes an image. ``latents`` is read three times."""
    mean_PR, count = _mean(latents())
    products_PP = torch.zeros(len(mean_PR), len(mean_PR), dtype=torch.float64)
    for latent_nPR in latents():
        centred_nPR = latent_nPR - mean_PR
        products_PP += torch.einsum("npr,nqr->pq", centred_nPR, centred_nPR).to(torch.float64)
    axes_PP = torch.linalg.eigh(products_PP)[1].flip(1).to(torch.float32)
    variances_PR = torch.zeros(mean_PR.shape, dtype=torch.float64)
    for latent_nPR in latents():
        variances_PR += (axes_PP.T @ (latent_nPR - mean_PR)).square().sum(dim=0, dtype=torch.float64) / count
    bits_PR = _allocated(variances_PR, 8 * total_bytes)
    deviations_PR = variances_PR.sqrt().clamp_min(1e-6).to(torch.float32)
    return PatchGrid(mean_PR, axes_PP.contiguous(), deviations_PR, bits_PR)


def _mean(latents: Iterable[Tensor]) -> tuple[Tensor, int]:
    total_PR, count = None, 0
    for latent_nPR in latents:
        part_PR = latent_nPR.sum(dim=0, dtype=torch.float64)
        total_PR = part_PR if total_PR is None else total_PR + part_PR
        count += len(latent_nPR)
    assert total_PR is not None
    return (total_PR / count).to(torch.float32), count


def _allocated(variances_PR: Tensor, total: int) -> Tensor:
    """Bits ``[P,R]`` uint8 with that total (or all that can be used): the most valuable ones first."""
    losses = torch.tensor(_LOSSES, dtype=torch.float64)
    gains_NB = variances_PR.flatten()[:, None] * (losses[:-1] - losses[1:])  # falls along B
    best = torch.argsort(gains_NB.flatten(), descending=True, stable=True)[:total] // MOST_BITS
    bits_N = torch.bincount(best, minlength=variances_PR.numel())
    return bits_N.to(torch.uint8).reshape(variances_PR.shape)


def _to_bits(units_Kn: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """Numbers of deviation 1 as indices of the quantiser's cells, bit by bit: ``[K,n·bits]`` of 0 and 1."""
    half = 2 ** (bits - 1)
    index = np.clip(np.floor(units_Kn / _STEPS[bits]) + half, 0, 2 * half - 1).astype(np.uint8)
    planes: NDArray[np.uint8] = (index[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    return planes.reshape(len(index), -1)


def _from_bits(planes: NDArray[np.uint8], bits: int) -> NDArray[np.float32]:
    """The middle of each cell, ``[K,n]``."""
    values = (1 << np.arange(bits)).astype(np.float32)  # in fp32, of which products are fast
    index = planes.reshape(len(planes), -1, bits).astype(np.float32) @ values
    middles: NDArray[np.float32] = ((index - 2 ** (bits - 1) + 0.5) * _STEPS[bits]).astype(np.float32)
    return middles
