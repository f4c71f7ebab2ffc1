"""What decoding a picture may cost, by what its header and its bytes explain: processor time and memory.

A clock that is the same for everything is either too short for honest large pictures or too long for small
files made to be slow. The rates are two to ten times what honest pictures of the format took, photographs
and noise, on a slow machine (docs/decisions/099).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sightline.errors import ImageRejected

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from sightline.imaging.limits import Allowance, Limits

TOP_SECONDS: Final = 60.0
"""``Limits.seconds`` for which the rates below are written; they grow and shrink with it."""
_OPENING: Final = (0.8, 0.02)
"""Processor seconds for a header of any format, and more for each megabyte of the file."""
_BASE_SECONDS: Final = 1.0
_LEAST_SECONDS: Final = 0.001
"""A timer that is set to nothing never rings."""
_WALL: Final = (30.0, 10.0)
"""Seconds on the wall for a process next to many others, and more for each second of its own."""
_WORKSPACE: Final = 256 << 20
"""Memory for libraries that are loaded late, for buffers and for a picture of a few pixels."""


class Rate(NamedTuple):
    """What a format may cost."""

    seconds_per_megapixel: float
    seconds_per_megabyte: float
    bytes_per_pixel: int = 0
    """What its decoder keeps of the whole picture beside the picture itself."""


_PLAIN: Final = Rate(0.05, 0.06)
_RATES: Final = {
    "JPEG": Rate(0.04, 0.4),
    "MPO": Rate(0.04, 0.4),
    "PNG": Rate(0.08, 0.08),
    "GIF": Rate(0.05, 0.1, 2),
    "TIFF": Rate(0.05, 0.06, 4),
    "WEBP": Rate(0.06, 0.8, 12),
    "AVIF": Rate(0.06, 0.8, 12),
    "HEIF": Rate(0.3, 1.5, 12),
    "JXL": Rate(0.4, 1.5, 16),
    "RAW": Rate(0.4, 0.6),
    "JPEG2000": Rate(0.1, 0.5, 16),
    # Pillow decodes these three in Python.
    "QOI": Rate(0.1, 2.5, 8),
    "DDS": Rate(0.05, 1.5, 8),
    "PPM": Rate(0.05, 1.0, 8),
    "ICO": Rate(0.08, 0.1, 4),
    "CUR": Rate(0.08, 0.1, 4),
    "ICNS": Rate(0.1, 0.5, 16),
}
_CONVERTING: Final = 12
"""Bytes for each pixel that is made RGB: the parts of a transparent picture, and white below them."""
_STORED: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_STORED_COLOUR: Final = 4


def opening_seconds(length: int, limits: Limits, allowance: Allowance | None = None) -> float:
    """Processor time for reading the header of a file of ``length`` bytes."""
    base, per_megabyte = _OPENING
    return _scaled(base + per_megabyte * length / 1e6, limits, allowance)


def decoding_seconds(
    opened: ImageFile, length: int, limits: Limits, allowance: Allowance | None = None
) -> float:
    """Processor time for decoding what was opened from ``length`` bytes, its conversion and thumbnail too."""
    rate = _rate(opened)
    megapixels, megabytes = pixels_of(opened) / 1e6, length / 1e6
    cost = _BASE_SECONDS + rate.seconds_per_megapixel * megapixels + rate.seconds_per_megabyte * megabytes
    return _scaled(cost, limits, allowance)


def wall_seconds(cpu_seconds: float) -> float:
    """How long to wait for a process that may compute so long: it may be starved, or asleep for good."""
    base, factor = _WALL
    return base + factor * cpu_seconds


def memory_budget(opened: ImageFile, length: int, limits: Limits) -> int:
    """Bytes that decoding may allocate, beside what the process had before."""
    whole = min(pixels_of(opened), limits.whole_pixels)
    need = _WORKSPACE + _least_memory(opened, limits) + _CONVERTING * whole
    return min(limits.memory_bytes, need) + 2 * length


def check_memory(opened: ImageFile, limits: Limits) -> None:
    """Refuse, before a pixel is allocated, what does not fit.

    Raises:
        ImageRejected: ``too_many_pixels``.
    """
    need = _least_memory(opened, limits)
    if need > limits.memory_bytes:
        raise ImageRejected(
            "too_many_pixels",
            f"The picture is {opened.width} × {opened.height}, {pixels_of(opened) / 1e6:.1f} megapixels; as "
            f"{opened.format} that takes {need / 1e6:,.0f} MB to decode, and the limit is "
            f"{limits.memory_bytes / 1e6:,.0f} MB (SIGHTLINE_IMAGING__MEMORY_BYTES).",
        )


def pixels_of(opened: ImageFile) -> int:
    """Width × height."""
    return opened.width * opened.height


def _scaled(seconds: float, limits: Limits, allowance: Allowance | None) -> float:
    most = limits.seconds if allowance is None else min(limits.seconds, allowance.seconds)
    return max(_LEAST_SECONDS, min(most, seconds * limits.seconds / TOP_SECONDS))


def _rate(opened: ImageFile) -> Rate:
    return _RATES.get(opened.format or "", _PLAIN)


def _least_memory(opened: ImageFile, limits: Limits) -> int:
    """Bytes without which the picture cannot be decoded at all."""
    pixels = pixels_of(opened)
    stored = _STORED.get(opened.mode, _STORED_COLOUR)
    if opened.format in ("JPEG", "MPO"):
        return stored * min(pixels, limits.whole_pixels) + _coefficients(opened)
    beside: int = getattr(opened, "work_bytes", 0)  # camera raws: the sensor's values
    return (stored + _rate(opened).bytes_per_pixel) * pixels + beside


def _coefficients(opened: ImageFile) -> int:
    """A progressive JPEG is kept whole as coefficients of two bytes until its last scan."""
    if not opened.info.get("progressive"):
        return 0
    layers: list[tuple[int, int, int, int]] = getattr(opened, "layer", [])
    widest = max((across * down for _, across, down, _ in layers), default=1)
    return sum(2 * pixels_of(opened) * across * down // max(1, widest) for _, across, down, _ in layers)
