"""Colour at full depth: what a profile or a gamma says about 16-bit samples, before they become 8 bits.

littlecms, as Pillow offers it, takes 8-bit colour only. Samples of linear light have lost their shadows by
then: the lowest step of 8 bits is already 13/255 of sRGB. So curves and matrices, which are all that profiles
of such pictures hold, are applied here; profiles with tables are left to littlecms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Curve = NDArray[np.float32]
    """[65536]: light, 0…1, of each 16-bit sample."""

_SAMPLES: Final = 65536
_ROWS_AT_ONCE: Final = 1 << 18
"""Pixels that are converted at a time: bounds the memory for floats."""
_SRGB_TO_XYZ: Final = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
"""Linear sRGB to XYZ under D50, the white of profiles."""
_SAME_PRIMARIES: Final = 0.005
_MIDDLE: Final = 32768
_MIDDLE_LIGHT: Final = 0.2140
"""Light of the middle sample in sRGB."""
_USUAL_GAMMA: Final = 1 / 2.2
_NEAR: Final = 0.05
"""Gammas this close (as a share) to the usual one are that of sRGB."""


@dataclass(frozen=True, eq=False)
class Light:
    """How samples become linear sRGB: a curve for each channel, then a matrix (None: primaries of sRGB)."""

    curves: tuple[Curve, ...]
    matrix: NDArray[np.float32] | None = None


def light_of_profile(profile: bytes, channels: int) -> Light | None:
    """What a profile of curves (and a matrix) says; None when it is sRGB, has tables, is unfit or broken."""
    try:
        return _read_profile(profile, channels)
    except (ValueError, IndexError, KeyError, ArithmeticError):  # broken; the samples are still good
        return None


def is_linear(profile: bytes) -> bool:
    """Whether a profile of curves says that samples are light itself, whatever its name says."""
    light = light_of_profile(profile, 3)
    return light is not None and abs(float(light.curves[0][_MIDDLE]) - 0.5) < 0.01


def light_of_gamma(gamma: float, channels: int) -> Light | None:
    """For samples that are light to the power of ``gamma``; None for the usual gamma and for nonsense."""
    if not 0.05 <= gamma <= 5 or abs(gamma / _USUAL_GAMMA - 1) <= _NEAR:
        return None
    return Light((_power(1 / gamma),) * channels)


def to_srgb8(samples: NDArray[np.uint16], light: Light) -> NDArray[np.uint8]:
    """[H, W, C] 16-bit samples to 8-bit sRGB of as many channels."""
    import numpy as np

    encode = _encoding()
    if light.matrix is None:
        tables = [encode[np.rint(curve * (_SAMPLES - 1)).astype(np.uint16)] for curve in light.curves]
        stacked: NDArray[np.uint8] = np.stack([one[samples[..., at]] for at, one in enumerate(tables)], -1)
        return stacked
    flat = samples.reshape(-1, samples.shape[-1])
    out = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), _ROWS_AT_ONCE):
        part = flat[start : start + _ROWS_AT_ONCE]
        linear = np.stack([curve[part[:, at]] for at, curve in enumerate(light.curves)], -1) @ light.matrix.T
        out[start : start + _ROWS_AT_ONCE] = encode[np.rint(np.clip(linear, 0, 1) * 65535).astype(np.uint16)]
    return out.reshape(samples.shape)


@lru_cache(maxsize=1)
def _encoding() -> NDArray[np.uint8]:
    """[65536]: linear light to 8-bit sRGB (IEC 61966-2-1)."""
    import numpy as np

    light = np.arange(_SAMPLES) / (_SAMPLES - 1)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    encoding: NDArray[np.uint8] = np.rint(curve * 255).astype(np.uint8)
    return encoding


@lru_cache(maxsize=4)
def _power(exponent: float) -> Curve:
    import numpy as np

    return ((np.arange(_SAMPLES) / (_SAMPLES - 1)) ** exponent).astype(np.float32)


@lru_cache(maxsize=8)
def _read_profile(profile: bytes, channels: int) -> Light | None:
    import numpy as np

    tags = _tags(profile)
    space = {1: b"GRAY", 3: b"RGB "}.get(channels)
    if profile[16:20] != space or b"A2B0" in tags:
        return None
    if channels == 1:
        return Light((_curve(tags[b"kTRC"]),))
    curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    columns = [np.frombuffer(tags[name][8:20], ">i4") / 65536 for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    matrix = np.linalg.inv(np.array(_SRGB_TO_XYZ)) @ np.stack(columns, -1)
    has_srgb_primaries = bool(np.abs(matrix - np.eye(3)).max() < _SAME_PRIMARIES)
    if has_srgb_primaries and all(abs(float(curve[_MIDDLE]) - _MIDDLE_LIGHT) < 0.01 for curve in curves):
        return None
    return Light(curves, None if has_srgb_primaries else matrix.astype(np.float32))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = min(int.from_bytes(profile[128:132], "big"), 100)
    entries = (profile[at : at + 12] for at in range(132, 132 + 12 * count, 12))
    numbers = ((one[:4], int.from_bytes(one[4:8], "big"), int.from_bytes(one[8:], "big")) for one in entries)
    return {name: profile[at : at + length] for name, at, length in numbers}


def _curve(tag: bytes) -> Curve:
    """A tag of type ``curv`` or ``para`` as light of each sample. Raises ValueError."""
    import numpy as np

    if tag[:4] == b"para":
        return _parametric(tag)
    if tag[:4] != b"curv":
        raise ValueError("no curve")
    count = int.from_bytes(tag[8:12], "big")
    if count == 0:
        return _power(1.0)
    points = np.frombuffer(tag[12 : 12 + 2 * count], ">u2").astype(np.float64)
    if len(points) != count:
        raise ValueError("cut off")
    if count == 1:
        return _power(float(points[0]) / 256)
    places = np.linspace(0, count - 1, _SAMPLES)
    return np.interp(places, np.arange(count), points / 65535).astype(np.float32)


def _parametric(tag: bytes) -> Curve:
    """ICC.1, 10.18: y = (a·x + b)^g + e from d on, c·x + f below."""
    import numpy as np

    kind = int.from_bytes(tag[8:10], "big")
    given = [float(value) / 65536 for value in np.frombuffer(tag[12 : 12 + 4 * (1, 3, 4, 5, 7)[kind]], ">i4")]
    x = np.arange(_SAMPLES) / (_SAMPLES - 1)
    if kind == 0:
        return _power(given[0])
    g, a, b = given[:3]
    if kind in (1, 2):
        rest = given[3] if kind == 2 else 0.0
        e, c, d, f = rest, 0.0, -b / a, rest
    else:
        c, d = given[3:5]
        e, f = given[5:7] if kind == 4 else (0.0, 0.0)
    curve = np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
    return np.clip(curve, 0, 1).astype(np.float32)
