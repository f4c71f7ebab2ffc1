"""PNG: every depth and type, keys, gamma, profiles, interlace, animation, damage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.imaging.hostile.case import Case, Pixels, as_rgb, on_white, ramp
from tests.imaging.hostile.profiles import icc_gamma, icc_grey
from tests.imaging.odd_files import chunk, encoded

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def packed(samples: NDArray[np.uint16], depth: int) -> bytes:
    """[H, W] or [H, W, C] samples as unfiltered rows of ``depth`` bits a sample."""
    rows = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        data = rows.astype(">u2").view(np.uint8).reshape(len(rows), -1)
    else:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        data = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in data)


def whole(samples: NDArray[np.uint16], depth: int, colour: int, *extra: bytes, after: bytes = b"") -> bytes:
    """A PNG file of these samples; ``extra`` chunks come before the pixels, ``after`` behind them."""
    body = chunk(b"IDAT", zlib.compress(packed(samples, depth)))
    height, width = samples.shape[:2]
    return b"".join(
        (SIGNATURE, header(width, height, depth, colour), *extra, body, after, chunk(b"IEND", b""))
    )


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))


def levels(depth: int) -> NDArray[np.uint16]:
    """[4, 16]: every level of a shallow depth, some of a deep one."""
    top = (1 << depth) - 1
    return ((np.arange(64).reshape(4, 16) * 977) % (top + 1)).astype(np.uint16)


def shallow(samples: NDArray[np.uint16], depth: int) -> NDArray[np.uint8]:
    """To 0…255, to the nearest."""
    return np.rint(samples / ((1 << depth) - 1) * 255).astype(np.uint8)


def srgb(linear: NDArray[np.float64]) -> NDArray[np.uint8]:
    """IEC 61966-2-1."""
    curve = np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
    return np.rint(np.clip(curve, 0, 1) * 255).astype(np.uint8)


def deep(height: int = 12, width: int = 20) -> NDArray[np.uint16]:
    """[H, W, 3] 16-bit, half of it dark: what 8 bits cannot hold when light is linear."""
    values = np.random.default_rng(16).random((height, width, 3)) ** 3 * 65535
    return values.astype(np.uint16)


def keyed(depth: int, key: int) -> Case:
    samples = levels(depth)
    alpha = np.where(samples == key, 0, 255).astype(np.uint8)
    data = partial(whole, samples, depth, 0, chunk(b"tRNS", struct.pack(">H", key)))
    return Case(f"png-grey{depth}-key{key}", data, on_white(as_rgb(shallow(samples, depth)), alpha))


def palette(depth: int, alpha: bool) -> Case:
    count = 1 << depth
    rng = np.random.default_rng(depth)
    colours = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    shares = rng.integers(0, 256, count).astype(np.uint8) if alpha else np.full(count, 255, np.uint8)
    samples = levels(depth)
    extra = [chunk(b"PLTE", colours.tobytes())] + ([chunk(b"tRNS", shares.tobytes())] if alpha else [])
    name = f"png-palette{depth}{'-alpha' if alpha else ''}"
    expected = on_white(colours[samples], shares[samples])
    return Case(name, partial(whole, samples, depth, 3, *extra), expected, tolerance=1 if alpha else 0)


def with_alpha(depth: int, colour: int) -> Case:
    channels = {4: 2, 6: 4}[colour]
    samples = np.random.default_rng(colour).integers(0, 1 << depth, (6, 9, channels)).astype(np.uint16)
    eight = np.rint(samples / ((1 << depth) - 1) * 255).astype(np.uint8)
    rgb = np.repeat(eight[..., :1], 3, -1) if channels == 2 else eight[..., :3]
    name = f"png-{'la' if channels == 2 else 'rgba'}{depth}"
    return Case(name, partial(whole, samples, depth, colour), on_white(rgb, eight[..., -1]), tolerance=2)


def linear() -> Iterator[Case]:
    """Light that is stored linearly, told by a profile or by gAMA, deep and shallow."""
    wide, light = deep(), icc_gamma(1.0)
    expected = srgb(wide / 65535)
    gama = chunk(b"gAMA", struct.pack(">I", 100_000))
    yield Case("png-rgb16-linear-profile", partial(whole, wide, 16, 2, iccp(light)), expected, tolerance=2)
    yield Case("png-rgb16-linear-gama", partial(whole, wide, 16, 2, gama), expected, tolerance=2)
    opaque = np.concatenate([wide, np.full((*wide.shape[:2], 1), 65535, np.uint16)], -1)
    yield Case("png-rgba16-linear-profile", partial(whole, opaque, 16, 6, iccp(light)), expected, tolerance=2)
    one = wide[..., 0]
    grey_light = partial(whole, one, 16, 0, iccp(icc_grey(1.0)))
    yield Case("png-grey16-linear-profile", grey_light, as_rgb(srgb(one / 65535)), tolerance=2)
    yield Case(
        "png-grey16-linear-gama", partial(whole, one, 16, 0, gama), as_rgb(srgb(one / 65535)), tolerance=2
    )
    eight = (wide >> 8).astype(np.uint16)
    yield Case(
        "png-rgb8-linear-profile", partial(whole, eight, 8, 2, iccp(light)), srgb(eight / 255), tolerance=3
    )
    yield Case("png-rgb8-linear-gama", partial(whole, eight, 8, 2, gama), srgb(eight / 255), tolerance=3)
    usual = chunk(b"gAMA", struct.pack(">I", 45_455))
    yield Case("png-rgb8-usual-gama", partial(whole, eight, 8, 2, usual), eight.astype(np.uint8))
    both = (chunk(b"sRGB", b"\0"), gama)
    yield Case("png-srgb-beats-gama", partial(whole, eight, 8, 2, *both), eight.astype(np.uint8))
    cut = chunk(b"iCCP", b"p\0\0" + zlib.compress(light)[:60])
    yield Case("png-profile-cut-inside", partial(whole, eight, 8, 2, cut), eight.astype(np.uint8))


def interlaced(samples: NDArray[np.uint16], depth: int, colour: int) -> bytes:
    """Adam7."""
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    parts = (samples[y::dy, x::dx] for y, x, dy, dx in passes)
    rows = b"".join(packed(part, depth) for part in parts if part.size)
    height, width = samples.shape[:2]
    body = chunk(b"IDAT", zlib.compress(rows))
    return SIGNATURE + header(width, height, depth, colour, 1) + body + chunk(b"IEND", b"")


def animated(default: bool, first: tuple[int, int, int, int] | None = None) -> bytes:
    """An APNG by hand: ``default`` puts a still picture before the frames, ``first`` lies about frame 0."""
    still, other = ramp(), ramp()[::-1].copy()
    left, top, width, height = first or (0, 0, 20, 12)

    def control(number: int, box: tuple[int, int, int, int]) -> bytes:
        left, top, width, height = box
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, left, top, 1, 10, 0, 0))

    rows = [zlib.compress(packed(picture.astype(np.uint16), 8)) for picture in (still, other)]
    parts = [SIGNATURE, header(20, 12, 8, 2), chunk(b"acTL", struct.pack(">II", 2 - default, 0))]
    number = 0
    if not default:
        parts.append(control(0, (left, top, width, height)))
        number = 1
    parts += [chunk(b"IDAT", rows[0]), control(number, (0, 0, 20, 12))]
    parts += [chunk(b"fdAT", struct.pack(">I", number + 1) + rows[1]), chunk(b"IEND", b"")]
    return b"".join(parts)


def keyed_colour(depth: int) -> Case:
    samples = np.random.default_rng(3).integers(0, 1 << depth, (4, 5, 3)).astype(np.uint16)
    samples[0, 1] = samples[2, 3] = key = samples[1, 1].copy()
    if depth == 16:  # one that shares the key's high bytes and no more
        samples[3, 3] = key ^ 1
    eight = np.rint(samples / ((1 << depth) - 1) * 255).astype(np.uint8)
    alpha = np.where((samples == key).all(-1), 0, 255).astype(np.uint8)
    extra = chunk(b"tRNS", struct.pack(">HHH", *key.tolist()))
    expected = on_white(eight, alpha)
    return Case(f"png-rgb{depth}-key", partial(whole, samples, depth, 2, extra), expected, tolerance=1)


def shapes() -> Iterator[Case]:
    """Extreme sizes."""
    tall = np.arange(65_500, dtype=np.uint16)[:, None] % 256
    yield Case("png-1x65500", partial(whole, tall, 8, 0), as_rgb(tall.astype(np.uint8)))
    wide = tall.T.copy()
    yield Case("png-65500x1", partial(whole, wide, 8, 0), as_rgb(wide.astype(np.uint8)))
    dot = np.array([[[9, 8, 7]]], np.uint16)
    yield Case("png-1x1", partial(whole, dot, 8, 2), dot.astype(np.uint8))


def lists(
    name: str, samples: NDArray[np.uint16], depth: int, colour: int, expected: Pixels
) -> Iterator[Case]:
    yield Case(
        f"png-{name}", partial(whole, samples, depth, colour), expected, tolerance=1 if depth == 16 else 0
    )
    turned = partial(interlaced, samples, depth, colour)
    yield Case(f"png-{name}-adam7", turned, expected, tolerance=1 if depth == 16 else 0)


def cases() -> Iterator[Case]:
    for depth in (1, 2, 4, 8, 16):
        samples = levels(depth)
        yield from lists(f"grey{depth}", samples, depth, 0, as_rgb(shallow(samples, depth)))
        for key in sorted({0, 1, (1 << depth) - 1}):
            yield keyed(depth, key)
    yield keyed(16, int(levels(16)[2, 3]))
    yield keyed(8, 128)
    for depth in (1, 2, 4, 8):
        yield palette(depth, alpha=False)
        yield palette(depth, alpha=True)
    yield from lists("rgb8", ramp().astype(np.uint16), 8, 2, ramp())
    yield from lists("rgb16", deep(), 16, 2, shallow(deep(), 16))
    for depth in (8, 16):
        yield keyed_colour(depth)
        yield with_alpha(depth, 4)
        yield with_alpha(depth, 6)
    yield from linear()
    yield from shapes()
    yield Case("apng-first-frame-is-the-picture", partial(animated, False), ramp())
    yield Case("apng-picture-before-the-frames", partial(animated, True), ramp())
    yield Case("apng-first-frame-lies", partial(animated, False, (5, 3, 10, 6)), ramp())
    yield Case("apng-first-frame-outside", partial(animated, False, (15, 3, 20, 12)), ramp())
    wrong = ramp().astype(np.uint16)
    unknown = chunk(b"teST", b"12345")
    yield Case("png-unknown-chunk", partial(whole, wrong, 8, 2, unknown), ramp())
    critical = chunk(b"TEST", b"12345")
    yield Case("png-unknown-critical-chunk", partial(whole, wrong, 8, 2, critical), ramp())
    yield Case("png-junk-behind", lambda: encoded(Image.fromarray(ramp()), "PNG") + b"<html>" * 50, ramp())
    text = chunk(b"tEXt", b"Comment\0" + b"x" * 3000)
    yield Case("png-text-behind", partial(whole, wrong, 8, 2, after=text), ramp())
