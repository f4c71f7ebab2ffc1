"""TIFF by hand: every layout of samples, directories that lead astray, big files, other formats inside."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.imaging.hostile.case import Case, as_rgb, grey, of, on_white, ramp
from tests.imaging.hostile.inks import patches, printed
from tests.imaging.hostile.png import deep, shallow, srgb
from tests.imaging.hostile.profiles import icc_gamma
from tests.imaging.hostile.tiff_writer import Directory, picture, tiff, tiles
from tests.imaging.odd_files import encoded, quarters


def layouts() -> Iterator[Case]:
    """8 and 16 bits, both orders, in one piece and in planes, plain and deflated, with and without alpha."""
    for order, planar, compression, deep_one in product("<>", (False, True), (1, 8), (False, True)):
        samples: NDArray[Any] = deep() if deep_one else ramp()
        expected = shallow(deep(), 16) if deep_one else ramp()
        parts = (
            "rgb16" if deep_one else "rgb8",
            "le" if order == "<" else "be",
            "planes" if planar else "pixels",
        )
        name = "-".join(("tiff", *parts, "deflate" if compression == 8 else "raw"))
        one = picture(samples, 2, order=order, planar=planar, compression=compression)
        yield Case(name, partial(tiff, one, order=order), expected, tolerance=1 if deep_one else 0)
    rng = np.random.default_rng(5)
    alpha = rng.integers(0, 256, (12, 20)).astype(np.uint8)
    both = np.concatenate([ramp(), alpha[..., None]], -1)
    for planar, extra in product((False, True), (0, 2)):
        expected = ramp() if extra == 0 else on_white(ramp(), alpha)
        one = picture(both, 2, planar=planar, tags={338: extra})
        name = f"tiff-rgb8-extra{extra}-{'planes' if planar else 'pixels'}"
        yield Case(name, partial(tiff, one), expected, tolerance=1)
    dark = (ramp().astype(np.uint16) * alpha[..., None] // 255).astype(np.uint8)
    joined = np.concatenate([dark, alpha[..., None]], -1)
    over = (dark.astype(int) + 255 - alpha[..., None]).astype(np.uint8)
    for planar in (False, True):
        one = picture(joined, 2, planar=planar, tags={338: 1})
        yield Case(f"tiff-rgb8-premultiplied-{planar:d}", partial(tiff, one), over, tolerance=3)
    wide = np.concatenate([deep(), alpha[..., None].astype(np.uint16) * 257], -1)
    for planar in (False, True):
        one = picture(wide, 2, planar=planar, tags={338: 2})
        expected = on_white(shallow(deep(), 16), alpha)
        yield Case(f"tiff-rgba16-{planar:d}", partial(tiff, one), expected, tolerance=2)
    for predictor, compression in ((2, 8), (2, 32946)):
        one = picture(deep(), 2, compression=compression, predictor=predictor)
        name = f"tiff-rgb16-predictor-{compression}"
        yield Case(name, partial(tiff, one), shallow(deep(), 16), tolerance=1)


def greys() -> Iterator[Case]:
    """Grey of every kind of number. What has no nominal range takes the smallest of the usual ones."""
    base = grey()
    for order, inverted in product("<>", (False, True)):
        tail = ("le" if order == "<" else "be") + ("-inverted" if inverted else "")
        expected = as_rgb(255 - base if inverted else base)
        for bits, factor in ((8, 1), (16, 257), (32, 16_843_009)):
            samples = (base.astype(np.uint64) * factor).astype(f"u{bits // 8}")
            one = picture(samples, 0 if inverted else 1, order=order)
            yield Case(f"tiff-grey{bits}-{tail}", partial(tiff, one, order=order), expected)
        for bits in (32, 64):
            one = picture((base / 255).astype(f"f{bits // 8}"), 0 if inverted else 1, order=order)
            yield Case(f"tiff-float{bits}-{tail}", partial(tiff, one, order=order), expected)
    half = picture((base / 255).astype(np.float16), 1)
    yield Case("tiff-float16", partial(tiff, half), as_rgb(base), tolerance=1)
    stretched = as_rgb(base)
    for bits in (8, 16, 32):
        top = (1 << (bits - 1)) - 1
        samples = (base.astype(np.int64) * ((2 * top + 1) // 255) - top - 1).astype(f"i{bits // 8}")
        for order in "<>":
            one = picture(samples, 1, order=order)
            name = f"tiff-signed{bits}-{'le' if order == '<' else 'be'}"
            yield Case(name, partial(tiff, one, order=order), stretched, tolerance=1)
    floats = picture((base / 255).astype(np.float32), 1, compression=8, predictor=3)
    yield Case("tiff-float32-predictor3", partial(tiff, floats), as_rgb(base))
    colours = (ramp() / 255).astype(np.float32)
    for planar, predictor in product((False, True), (1, 3)):
        one = picture(colours, 2, planar=planar, compression=8, predictor=predictor)
        yield Case(f"tiff-rgb-float32-{planar:d}-{predictor}", partial(tiff, one), ramp(), tolerance=1)
    long = (ramp().astype(np.uint64) * 16_843_009).astype(np.uint32)
    for planar in (False, True):
        yield Case(
            f"tiff-rgb32-{planar:d}", partial(tiff, picture(long, 2, planar=planar)), ramp(), tolerance=1
        )
    small = picture(base.astype(np.uint32), 1)
    yield Case("tiff-grey32-small-values", partial(tiff, small), as_rgb(base))


def bits(depth: int, photometric: int, fill: int) -> Case:
    rows = (np.arange(12 * 20).reshape(12, 20) * 7 % (1 << depth)).astype(np.uint8)
    spread = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    data = np.packbits(spread.reshape(12, -1).astype(np.uint8), axis=1)
    if fill == 2:
        data = np.packbits(np.unpackbits(data, axis=1).reshape(12, -1, 8)[..., ::-1].reshape(12, -1), axis=1)
    tags: dict[int, Any] = {
        256: 20,
        257: 12,
        258: depth,
        259: 1,
        262: photometric,
        266: fill,
        277: 1,
        278: 12,
    }
    values = shallow(rows.astype(np.uint16), depth)
    expected = as_rgb(255 - values if photometric == 0 else values)
    if photometric == 3:
        colours = np.random.default_rng(depth).integers(0, 256, (1 << depth, 3))
        tags[320] = [int(value) * 257 for value in colours.T.reshape(-1)]
        expected = colours[rows].astype(np.uint8)
    return Case(
        f"tiff-{depth}-bit-{photometric}-fill{fill}",
        lambda: tiff(Directory(tags, [data.tobytes()])),
        expected,
    )


def directories() -> Iterator[Case]:
    """The picture is not always in the first directory."""
    small = picture(np.zeros((4, 6, 3), np.uint8), 2, tags={254: 1})
    full = picture(ramp(), 2, tags={254: 0})
    mask = picture(np.zeros((12, 20), np.uint8), 1, tags={254: 4})
    yield Case("tiff-thumbnail-first", partial(tiff, small, full), ramp())
    yield Case("tiff-mask-first", partial(tiff, mask, full), ramp())
    yield Case("tiff-thumbnail-second", partial(tiff, full, small), ramp())
    nested = Directory(small.tags, small.strips, [full])
    yield Case("tiff-picture-inside-of-thumbnail", partial(tiff, nested), ramp())
    yield Case("tiff-thumbnail-alone", partial(tiff, small), np.zeros((4, 6, 3), np.uint8))
    old = picture(np.zeros((4, 6, 3), np.uint8), 2, tags={255: 2})
    yield Case("tiff-old-thumbnail-first", partial(tiff, old, full), ramp())
    pages = picture(ramp()[::-1].copy(), 2, tags={254: 2})
    yield Case("tiff-two-pages", partial(tiff, picture(ramp(), 2, tags={254: 2}), pages), ramp())
    for order, big in product("<>", (False, True)):
        if big:
            name = "be" if order == ">" else "le"
            yield Case(
                f"bigtiff-{name}",
                partial(tiff, picture(ramp(), 2, order=order), order=order, big=True),
                ramp(),
            )
            deflated = picture(ramp(), 2, order=order, compression=8)
            yield Case(f"bigtiff-{name}-deflate", partial(tiff, deflated, order=order, big=True), ramp())
            two = partial(tiff, small, full, order=order, big=True)
            yield Case(f"bigtiff-{name}-thumbnail-first", two, ramp())
    loop = bytearray(tiff(full))
    at = len(loop) - 4
    loop[at:] = loop[4:8]  # the next directory is this one
    yield Case("tiff-directory-loop", lambda: bytes(loop), ramp())


def inside() -> Iterator[Case]:
    """Strips that are files of another format, or compressed by something else."""
    flat = quarters()
    tags: dict[int, Any] = {256: 48, 257: 32, 258: [8, 8, 8], 277: 3, 278: 32}
    webp = encoded(flat, "WEBP", lossless=True)
    yield Case("tiff-webp", lambda: tiff(Directory(tags | {259: 50001, 262: 2}, [webp])), of(flat))
    jp2 = encoded(flat, "JPEG2000", no_jp2=True)
    for code in (34712, 33005):
        data = Directory(tags | {259: code, 262: 2}, [jp2])
        yield Case(f"tiff-jpeg2000-{code}", partial(tiff, data), of(flat))
    ycc = encoded(flat, "JPEG", quality=95, subsampling=0)
    data = Directory(tags | {259: 7, 262: 6, 530: [1, 1]}, [ycc])
    yield Case("tiff-jpeg-ycc", partial(tiff, data), of(flat), tolerance=8)
    yield Case("bigtiff-be-jpeg-ycc", partial(tiff, data, order=">", big=True), of(flat), tolerance=8)
    plain = encoded(flat, "JPEG", quality=95, keep_rgb=True)
    data = Directory(tags | {259: 7, 262: 2}, [plain])
    yield Case("tiff-jpeg-rgb", partial(tiff, data), of(flat), tolerance=8)
    for code, words in (
        (34887, "LERC"),
        (50002, "JPEG XL"),
        (34892, "lossy JPEG"),
        (34661, "JBIG"),
        (12345, "12345"),
    ):
        data = Directory(tags | {259: code, 262: 2}, [b"x" * 500])
        yield Case(f"tiff-compression-{code}", partial(tiff, data), reason="unsupported", says=words)
    for name in ("tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "zstd", "lzma"):
        data = partial(encoded, Image.fromarray(ramp()), "TIFF", compression=name)
        yield Case(f"tiff-by-pillow-{name}", data, ramp())
    fax = Image.fromarray((grey() // 128 * 255).astype(np.uint8)).convert("1")
    for name in ("group3", "group4", "tiff_ccitt"):
        yield Case(f"tiff-by-pillow-{name}", partial(encoded, fax, "TIFF", compression=name), of(fax))


def others() -> Iterator[Case]:
    ink = np.asarray(patches())
    yield Case("tiff-cmyk", partial(tiff, picture(ink, 5)), printed, tolerance=3)
    yield Case("tiff-cmyk-planes", partial(tiff, picture(ink, 5, planar=True)), printed, tolerance=3)
    yield Case("tiff-cmyk16", partial(tiff, picture(ink.astype(np.uint16) * 257, 5)), printed, tolerance=3)
    light = icc_gamma(1.0)
    linear = picture(deep(), 2, tags={34675: light})
    yield Case("tiff-rgb16-linear-profile", partial(tiff, linear), srgb(deep() / 65535), tolerance=2)
    yield Case("tiff-tiles", partial(tiff, tiles(ramp(40, 24))), ramp(40, 24))
    yield Case("tiff-tiles-planes", partial(tiff, tiles(ramp(40, 24), planar=True)), ramp(40, 24))
    complex_one = picture(np.zeros((4, 4), np.uint32), 1, tags={339: 5})
    yield Case("tiff-complex", partial(tiff, complex_one), reason="unsupported", says="complex")
    log = picture(np.zeros((4, 4, 3), np.uint16), 32845)
    yield Case("tiff-logluv", partial(tiff, log), reason="unsupported", says="LogLuv")
    lab = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    yield Case(
        "tiff-lab-white", partial(tiff, picture(lab, 8)), np.full((4, 4, 3), 255, np.uint8), tolerance=2
    )
    lab16 = np.full((4, 4, 3), (65535, 0, 0), np.uint16)
    yield Case(
        "tiff-lab16-white", partial(tiff, picture(lab16, 8)), np.full((4, 4, 3), 255, np.uint8), tolerance=2
    )
    yield from yccs()
    one = picture(ramp(), 2, rows=1000)
    yield Case("tiff-rows-beyond-height", partial(tiff, one), ramp())
    no_count = picture(ramp(), 2, rows=12)
    yield Case(
        "tiff-second-extra",
        partial(tiff, picture(np.concatenate([ramp(), ramp()[..., :2]], -1), 2, tags={338: [0, 0]})),
        ramp(),
    )
    yield Case("tiff-one-strip", partial(tiff, no_count), ramp())
    tall = np.arange(65_500).astype(np.uint8)[:, None]
    yield Case("tiff-1x65500", partial(tiff, picture(tall, 1, rows=65_500)), as_rgb(tall))


def yccs() -> Iterator[Case]:
    """Uncompressed YCbCr: a block of luma shares one pair of chroma. Chroma is flat here."""
    luma = grey() // 2 + 60
    blue, red = np.full_like(luma, 110), np.full_like(luma, 150)
    expected = of(Image.merge("YCbCr", [Image.fromarray(one) for one in (luma, blue, red)]))
    for across, down in ((1, 1), (2, 1), (2, 2)):
        blocks = luma.reshape(12 // down, down, 20 // across, across).transpose(0, 2, 1, 3)
        blocks = blocks.reshape(12 // down, 20 // across, -1)
        chroma = np.broadcast_to(np.array([110, 150], np.uint8), (*blocks.shape[:2], 2))
        data = np.concatenate([blocks, chroma], -1).tobytes()
        tags: dict[int, Any] = {256: 20, 257: 12, 258: [8] * 3, 259: 1, 262: 6, 277: 3, 278: 12}
        one = Directory(tags | {530: [across, down]}, [data])
        yield Case(f"tiff-ycc-{across}{down}", partial(tiff, one), expected, tolerance=2)
    planes = picture(np.stack([luma, blue, red], -1), 6, planar=True, tags={530: [1, 1]})
    yield Case("tiff-ycc-planes", partial(tiff, planes), expected, tolerance=2)
    colours = np.random.default_rng(2).integers(0, 256, (256, 3))
    narrow = picture(grey(), 3, tags={320: colours.T.reshape(-1).tolist()})
    yield Case("tiff-palette-of-bytes", partial(tiff, narrow), colours[grey()].astype(np.uint8))


def cases() -> Iterator[Case]:
    yield from layouts()
    yield from greys()
    for depth, photometric, fill in product((1, 2, 4), (0, 1, 3), (1, 2)):
        yield bits(depth, photometric, fill)
    yield from directories()
    yield from inside()
    yield from others()
