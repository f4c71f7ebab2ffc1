"""How hard a search looks: cells and token hits, by how many of the images may be found and are wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

CALIBRATED: Final = 100
"""Images that were wanted when this was measured."""


class Effort(NamedTuple):
    """``probes`` cells are looked at, for ``fetch`` tokens, where the ``share`` of images may be found."""

    share: float
    probes: int
    fetch: int


@dataclass(frozen=True)
class Efforts:
    """What was measured, by falling share; the first is that of all images."""

    measured: tuple[Effort, ...]

    def of(self, share: float, wanted: int) -> Effort:
        """Between two shares that were measured, and beyond the smallest, by the logarithm."""
        probes, fetch = self._at(max(share, 1e-9))
        more = max(1.0, wanted / CALIBRATED)
        return Effort(share, math.ceil(probes * more), math.ceil(fetch * more))

    def _at(self, share: float) -> tuple[float, float]:
        measured = self.measured
        upper = max((i for i, one in enumerate(measured) if one.share >= share), default=0)
        if len(measured) == 1:
            return measured[0].probes, measured[0].fetch
        lower = min(upper + 1, len(measured) - 1)
        upper = lower - 1
        one, other = measured[upper], measured[lower]
        at = max(0.0, math.log(one.share / share) / math.log(one.share / other.share))
        probes = one.probes * (max(1, other.probes) / one.probes) ** at
        fetch = one.fetch * (max(1, other.fetch) / one.fetch) ** min(at, 1.0)
        return probes, fetch
