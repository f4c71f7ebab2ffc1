"""PNG: every filter of rows on every depth and type."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tests.imaging.hostile.case import Case, Pixels, as_rgb, on_white
from tests.imaging.hostile.png import SIGNATURE, header, packed, shallow
from tests.imaging.odd_files import chunk

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_NONE, _SUB, _UP, _AVERAGE, _PAETH, _EACH = range(6)
"""``_EACH``: another one for each row."""


def filtered(rows: bytes, height: int, step: int, kind: int) -> bytes:
    """Rows as `packed` gives them, each behind its filter byte; ``step`` is the bytes of a pixel."""
    values = np.frombuffer(rows, np.uint8).reshape(height, -1)[:, 1:].astype(np.int16)
    left = np.pad(values, ((0, 0), (step, 0)))[:, : values.shape[1]]
    above = np.pad(values, ((1, 0), (0, 0)))[:height]
    corner = np.pad(above, ((0, 0), (step, 0)))[:, : values.shape[1]]
    guess = left + above - corner
    away = [np.abs(guess - one) for one in (left, above, corner)]
    nearest = np.where(
        (away[0] <= away[1]) & (away[0] <= away[2]), left, np.where(away[1] <= away[2], above, corner)
    )
    steps = (values - one for one in (0, left, above, (left + above) // 2, nearest))
    all_kinds = [one.astype(np.uint8) for one in steps]
    used = [row % 5 if kind == _EACH else kind for row in range(height)]
    return b"".join(bytes([one]) + all_kinds[one][row].tobytes() for row, one in enumerate(used))


def one_file(samples: NDArray[np.uint16], depth: int, colour: int, kind: int, palette: Pixels) -> bytes:
    height, width = samples.shape[:2]
    rows = filtered(packed(samples, depth), height, max(1, _CHANNELS[colour] * depth // 8), kind)
    extra = chunk(b"PLTE", palette.tobytes()) if colour == 3 else b""
    body = chunk(b"IDAT", zlib.compress(rows))
    return SIGNATURE + header(width, height, depth, colour) + extra + body + chunk(b"IEND", b"")


def cases() -> Iterator[Case]:
    for colour, depths in _DEPTHS.items():
        for depth in depths:
            rng = np.random.default_rng(100 * colour + depth)
            samples = rng.integers(0, 1 << depth, (11, 13, _CHANNELS[colour])).astype(np.uint16)
            palette = rng.integers(0, 256, (1 << min(depth, 8), 3)).astype(np.uint8)
            expected = _expected(samples, depth, colour, palette)
            for kind, name in enumerate(("none", "sub", "up", "average", "paeth", "each")):
                data = partial(one_file, samples, depth, colour, kind, palette)
                # Of colours of 16 bits Pillow keeps the high byte, which is within 1 of the nearest.
                tolerance = 2 if colour in (4, 6) else 1 if (colour, depth) == (2, 16) else 0
                yield Case(f"png-filter-{name}-type{colour}-{depth}", data, expected, tolerance=tolerance)


def _expected(samples: NDArray[np.uint16], depth: int, colour: int, palette: Pixels) -> Pixels:
    if colour == 3:
        return palette[samples[..., 0]]
    eight = shallow(samples, depth)
    rgb = as_rgb(eight[..., 0]) if colour in (0, 4) else eight[..., :3]
    return on_white(rgb, eight[..., -1]) if colour in (4, 6) else rgb
