"""One picture file and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
"""[H, W, 3], upright sRGB on white."""


@dataclass(frozen=True, eq=False)
class Case:
    """``pixels`` or ``reason`` says what must come out; ``data`` is made on first use, always the same."""

    name: str
    make: Callable[[], bytes]
    pixels: Callable[[], Pixels] | Pixels | None = None
    reason: str | None = None
    """A documented reason code, in place of pixels."""
    tolerance: int = 0
    """The largest difference of a sample; 0 for what is stored without loss."""
    says: str = ""
    """Words that the detail of a rejection must hold."""

    @cached_property
    def data(self) -> bytes:
        return self.make()

    @property
    def expected(self) -> Pixels | str:
        """The pixels, or the reason code."""
        if self.reason is not None:
            return self.reason
        assert self.pixels is not None
        return self.pixels() if callable(self.pixels) else self.pixels


def ramp(width: int = 20, height: int = 12) -> Pixels:
    """Every pixel another colour, no symmetry."""
    rows, columns = np.mgrid[0:height, 0:width]
    stacked = np.stack(
        [columns * 255 // (width - 1), rows * 255 // (height - 1), (columns * rows * 7) % 256], -1
    )
    return stacked.astype(np.uint8)


def grey(width: int = 20, height: int = 12) -> NDArray[np.uint8]:
    """[H, W] grey without symmetry, black and white in it."""
    rows, columns = np.mgrid[0:height, 0:width]
    values = (columns * 11 + rows * 37) % 256
    values[0, 0], values[-1, -1] = 0, 255
    return values.astype(np.uint8)


def as_rgb(values: NDArray[np.uint8]) -> Pixels:
    """Grey [H, W] as RGB."""
    return np.repeat(values[..., None], 3, axis=-1)


def of(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


def on_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Pixels:
    """[H, W, 3] and [H, W], by the definition of "over", rounded."""
    share = alpha[..., None] / 255
    return np.rint(colour * share + 255 * (1 - share)).astype(np.uint8)
