"""Colour by numbers (ITU-T H.273): what HEIF and AVIF say of pictures that bring no ICC profile.

Phones and cameras write Display P3 and Rec. 2100 so. Light above the reference white of 203 cd/m² (ITU-R
BT.2408) has no place in sRGB: it is rolled off below white, so that highlights keep their drawing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sightline.imaging.profiles import Light

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLES: Final = 65536
_SRGB: Final = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_WIDE: Final = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Chromaticities of red, green and blue: Rec. 2020, DCI-P3, Display P3. Others lie so near to sRGB that the
number often stands there by habit."""
_D65: Final = (0.3127, 0.3290)
_LINEAR, _PQ, _HLG = 8, 16, 18
_REFERENCE_WHITE: Final = 203.0
_PEAK: Final = 1000.0
"""cd/m² of the screen that HLG is made for, and where PQ becomes white."""
_KNEE: Final = 0.7
"""Light, as a share of white, above which it is rolled off."""


@lru_cache(maxsize=8)
def light_of_cicp(primaries: int, transfer: int) -> Light | None:
    """How samples become linear sRGB; None where they are sRGB already, or as good as that."""
    import numpy as np

    matrix = _matrix(_WIDE[primaries]).astype(np.float32) if primaries in _WIDE else None
    if matrix is None and transfer not in (_LINEAR, _PQ, _HLG):
        return None
    return Light((_curve(transfer),) * 3, matrix)


def _matrix(primaries: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Linear light of these primaries to that of sRGB; both have the white D65."""
    import numpy as np

    return np.linalg.solve(_to_xyz(_SRGB), _to_xyz(primaries)).astype(np.float64)


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    import numpy as np

    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]).T
    white = np.array([_D65[0] / _D65[1], 1.0, (1 - sum(_D65)) / _D65[1]])
    scales: NDArray[np.float64] = np.linalg.solve(columns, white)
    return columns * scales


def _curve(transfer: int) -> NDArray[np.float32]:
    """[65536]: light of each sample, 1 at white."""
    import numpy as np

    x = np.arange(_SAMPLES) / (_SAMPLES - 1)
    if transfer == _LINEAR:
        return x.astype(np.float32)
    if transfer == _PQ:
        return _rolled_off(_pq(x) * 10_000 / _REFERENCE_WHITE).astype(np.float32)
    if transfer == _HLG:
        return _rolled_off(_hlg(x) ** 1.2 * _PEAK / _REFERENCE_WHITE).astype(np.float32)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _pq(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084: 1 is 10,000 cd/m²."""
    import numpy as np

    power = x ** (32 / 2523)
    light: NDArray[np.float64] = (np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (
        8192 / 1305
    )
    return light


def _hlg(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100: light of the scene, 0…1."""
    import numpy as np

    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light: NDArray[np.float64] = np.where(x <= 0.5, x * x / 3, (np.exp((x - c) / a) + b) / 12)
    return light


def _rolled_off(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Straight up to the knee, then bent so that the peak of the screen becomes 1."""
    import numpy as np

    room, reach = 1 - _KNEE, _PEAK / _REFERENCE_WHITE - _KNEE
    over = np.clip(light - _KNEE, 0, reach)
    # over·(1 + over·k) / (1 + over/room): slope 1 at the knee, `room` at the reach.
    k = (room * (1 + reach / room) / reach - 1) / reach
    bent: NDArray[np.float64] = np.minimum(light, _KNEE) + over * (1 + over * k) / (1 + over / room)
    return bent
