"""What a fit needs to know of patches. Shapes: K images · P patches · V vision width · N = K·P."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from sightline.errors import InputError

_IMAGES_AT_ONCE: Final = 32


class PatchMoments:
    """Mean and covariance of patches, added up image by image: what a fit needs, in ``V²`` numbers."""

    def __init__(self, width: int) -> None:
        self.images = 0
        self._patches = 0
        self._sum_V = torch.zeros(width, dtype=torch.float64)
        self._products_VV = torch.zeros(width, width, dtype=torch.float64)
        self._origin_V: Tensor | None = None

    def add(self, patches_KPV: Tensor) -> None:
        """Count ``[K,P,V]`` in. Sums are in fp64, the products of a few images at a time in fp32."""
        for part_KPV in patches_KPV.split(_IMAGES_AT_ONCE):
            rows_NV = part_KPV.to("cpu", torch.float32).flatten(0, 1)
            if self._origin_V is None:  # near the mean, so that squares of a large mean cancel nothing
                self._origin_V = rows_NV.mean(dim=0)
            rows_NV = rows_NV - self._origin_V
            self._sum_V += rows_NV.sum(dim=0, dtype=torch.float64)
            self._products_VV += (rows_NV.T @ rows_NV).to(torch.float64)
            self._patches += len(rows_NV)
        self.images += len(patches_KPV)

    @property
    def mean(self) -> Tensor:
        """``[V]`` fp64."""
        if self._origin_V is None:
            raise InputError("There are no patches to fit a codec to; index some images first.")
        return self._origin_V.to(torch.float64) + self._sum_V / self._patches

    @property
    def covariance(self) -> Tensor:
        """``[V,V]`` fp64, about the mean."""
        shift_V = self.mean - self._origin_V  # type: ignore[operator]
        return self._products_VV / self._patches - torch.outer(shift_V, shift_V)
