"""TIFF: every predictor on every kind of number, in pixels and planes, strips and tiles, both byte orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.imaging.hostile.case import Case, Pixels, as_rgb, grey, ramp
from tests.imaging.hostile.tiff_writer import picture, tiff, tiles

KINDS = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")
_DEFLATE, _LZMA, _RAW = 8, 34925, 1


@dataclass(frozen=True)
class Numbers:
    """A file, and the numbers that are in it, [H, W, C]."""

    name: str
    samples: NDArray[Any]
    data: Callable[[], bytes]
    is_defined: bool = True
    """Whether the predictor is one for this kind of number."""

    @property
    def pixels(self) -> Pixels:
        return ramp() if self.samples.shape[-1] == 3 else as_rgb(grey())


def spread(values: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    """0…255 over the range that the kind of number is shown with."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return (values / 255).astype(dtype)
    wide = values.astype(np.int64) * ((1 << 8 * dtype.itemsize) // 255)
    return (wide + (np.iinfo(dtype).min if dtype.kind == "i" else 0)).astype(dtype)


def files() -> Iterator[Numbers]:
    for predictor, kind, planar, order in product((1, 2, 3), KINDS, (False, True), "<>"):
        samples = spread(ramp(), kind)
        known = predictor != 3 or samples.dtype.kind == "f"
        how = (predictor, _DEFLATE, planar, order)
        yield _file(f"{kind}-rgb", samples, *how, tiled=False, is_defined=known)
        if known and (samples.dtype.kind == "f" or kind == "uint16"):
            yield _file(f"{kind}-rgb-tiles", samples, *how, tiled=True)
    for predictor, kind, order, tiled in product((2, 3), KINDS, "<>", (False, True)):
        samples = spread(grey()[..., None], kind)
        if predictor == 2 or samples.dtype.kind == "f":
            name = f"{kind}-grey{'-tiles' if tiled else ''}"
            yield _file(name, samples, predictor, _DEFLATE, False, order, tiled=tiled)
    for predictor, kind, order in product((2, 3), ("uint16", "float32"), "<>"):
        samples = spread(ramp(), kind)
        if predictor == 2 or kind == "float32":
            yield _file(f"{kind}-rgb-lzma", samples, predictor, _LZMA, False, order, tiled=False)


def _file(
    name: str,
    samples: NDArray[Any],
    predictor: int,
    compression: int,
    planar: bool,
    order: str,
    *,
    tiled: bool,
    is_defined: bool = True,
) -> Numbers:
    photometric = 2 if samples.shape[-1] == 3 else 1
    made = partial(
        tiles if tiled else picture,
        samples,
        photometric=photometric,
        order=order,
        planar=planar,
        compression=compression,
        predictor=predictor if is_defined else 1,
    )

    def data() -> bytes:
        directory = made()
        directory.tags[317] = predictor
        return tiff(directory, order=order)

    ends = ("planes" if planar else "pixels", "le" if order == "<" else "be")
    return Numbers(
        "-".join((f"tiff-predictor{predictor}", name, *ends)), samples, data, is_defined=is_defined
    )


def undone_by_nobody() -> Iterator[Case]:
    """A predictor in a file whose compression has none is left alone; one that is unknown is refused."""
    for kind, predictor in product(("uint8", "uint16", "float32"), (2, 3)):
        one = picture(spread(ramp(), kind), 2, compression=_RAW)
        one.tags[317] = predictor
        yield Case(f"tiff-raw-predictor{predictor}-{kind}", partial(tiff, one), ramp())
    for kind, predictor in product(("uint8", "uint16", "float32"), (0, 4, 34892)):
        one = picture(spread(ramp(), kind), 2, compression=_DEFLATE)
        one.tags[317] = predictor
        name = f"tiff-unknown-predictor{predictor}-{kind}"
        yield Case(name, partial(tiff, one), reason="unsupported", says=f"predictor {predictor} ")
    for depth in (1, 2, 4, 12):
        one = picture(np.zeros((12, 3), np.uint8), 1, compression=_DEFLATE)
        one.tags |= {256: 24 // depth, 258: depth, 317: 2}
        name = f"tiff-predictor2-{depth}-bits"
        yield Case(name, partial(tiff, one), reason="unsupported", says=f"on {depth}-bit")


def cases() -> Iterator[Case]:
    for one in files():
        tolerance = 1 if one.samples.dtype.kind == "i" or one.samples.dtype == np.float16 else 0
        if one.is_defined:
            yield Case(one.name, one.data, one.pixels, tolerance=tolerance)
        else:
            yield Case(one.name, one.data, reason="unsupported", says="predictor 3")
    yield from undone_by_nobody()
