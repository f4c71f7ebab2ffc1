"""Headers that promise what is not there: bombs, impossible numbers, polyglots."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from tests.imaging.hostile.case import Case, of, ramp
from tests.imaging.hostile.gif import frame, indices, screen
from tests.imaging.hostile.jpeg import behind_start, plain, segment
from tests.imaging.hostile.png import SIGNATURE, header, packed, whole
from tests.imaging.hostile.tiff_writer import Directory, picture, tiff
from tests.imaging.odd_files import (
    bmp_header_only,
    chunk,
    encoded,
    endless_gif,
    huge_jpeg_header,
    icon_bomb,
    png,
    png_bomb,
    quarters,
)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def bombs() -> Iterator[Case]:
    large = "too_many_pixels"
    yield Case("bomb-png", png_bomb, reason=large)
    yield Case("bomb-png-header", partial(png, 2**31 - 1, 2**31 - 1, 8, 2, b""), reason=large)
    yield Case("bomb-icon", icon_bomb, reason=large)
    yield Case("bomb-bmp", bmp_header_only, reason=large)
    yield Case("bomb-gif", endless_gif, reason=large)
    yield Case("bomb-jpeg", huge_jpeg_header, reason=large)
    sized = {256: 60_000, 257: 60_000, 258: 8, 259: 1, 262: 1, 277: 1, 278: 60_000}
    yield Case("bomb-tiff", partial(tiff, Directory(dict(sized), [b"x"])), reason=large)
    deep = {**sized, 258: [16] * 3, 262: 2, 277: 3}
    yield Case("bomb-tiff-deep", partial(tiff, Directory(dict(deep), [b"x"])), reason=large)
    flate = Directory({**sized, 256: 900, 257: 900, 258: 16, 259: 8}, [zlib.compress(bytes(4_000_000))])
    yield Case("bomb-tiff-more-than-it-says", partial(tiff, flate), np.zeros((900, 900, 3), np.uint8))
    size = struct.pack(">II", 60_000, 60_000)
    jp2 = encoded(Image.fromarray(ramp()), "JPEG2000")
    yield Case("bomb-jp2", lambda: replaced(jp2, jp2.index(b"ihdr") + 4, size), reason=large)
    yield Case(
        "bomb-psd",
        lambda: b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 30_000, 30_000, 8, 3) + bytes(14),
        reason=large,
    )
    qoi = encoded(Image.fromarray(ramp()), "QOI")
    yield Case("bomb-qoi", lambda: replaced(qoi, 4, size), reason=large)
    yield Case("bomb-ppm", lambda: b"P6\n60000 60000\n255\n" + bytes(99), reason=large)
    tga = encoded(Image.fromarray(ramp()), "TGA")
    yield Case("bomb-tga", lambda: replaced(tga, 12, struct.pack("<HH", 65_535, 65_535)), reason=large)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
    pixels = ramp().astype(np.uint16)
    yield Case("bomb-png-text", partial(whole, pixels, 8, 2, text), ramp())
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(30_000_000)))
    yield Case("bomb-png-profile", partial(whole, pixels, 8, 2, profile), ramp())


def numbers() -> Iterator[Case]:
    pixels = ramp().astype(np.uint16)
    good = whole(pixels, 8, 2)
    for name, bad in (
        ("depth-3", header(20, 12, 3, 2)),
        ("colour-5", header(20, 12, 8, 5)),
        ("width-0", header(0, 12, 8, 2)),
        ("height-0", header(20, 0, 8, 2)),
    ):
        data = good.replace(header(20, 12, 8, 2), bad)
        yield Case(f"lie-png-{name}", lambda data=data: data, reason="unreadable")
    taller = good.replace(header(20, 12, 8, 2), header(20, 24, 8, 2))
    yield Case("lie-png-height", lambda: taller, reason="truncated")
    shorter = good.replace(header(20, 12, 8, 2), header(20, 6, 8, 2))
    yield Case("lie-png-less-height", lambda: shorter, ramp()[:6])
    broken = bytearray(good)
    broken[20] ^= 1
    yield Case("lie-png-checksum", lambda: bytes(broken), reason="unreadable")
    long = SIGNATURE + header(20, 12, 8, 2) + struct.pack(">I", 2**31 - 1) + b"IDAT" + b"abc"
    yield Case("lie-png-chunk-length", lambda: long, reason="truncated")
    no_data = SIGNATURE + header(20, 12, 8, 2) + chunk(b"IEND", b"")
    yield Case("lie-png-no-data", lambda: no_data, reason="unreadable")
    filtered = zlib.compress(b"".join(b"\x09" + row.tobytes() for row in ramp()))
    bad_filter = SIGNATURE + header(20, 12, 8, 2) + chunk(b"IDAT", filtered) + chunk(b"IEND", b"")
    yield Case("lie-png-filter", lambda: bad_filter, reason="unreadable")
    no_deflate = SIGNATURE + header(20, 12, 8, 2) + chunk(b"IDAT", b"\xff" * 400) + chunk(b"IEND", b"")
    yield Case("lie-png-no-deflate", lambda: no_deflate, reason="unreadable")
    yield from directories()


def directories() -> Iterator[Case]:
    one = picture(ramp(), 2)
    for name, tags in (
        ("width-0", {256: 0}),
        ("no-offsets", {}),
        ("channels-0", {277: 0}),
        ("channels-60000", {277: 60_000}),
        ("rows-0", {278: 0}),
    ):
        strips = [] if name == "no-offsets" else one.strips
        data = partial(tiff, Directory(one.tags | tags, strips))
        yield Case(f"lie-tiff-{name}", data, reason="unreadable")
    far = tiff(one)
    yield Case(
        "lie-tiff-directory-far", lambda: far[:4] + struct.pack("<I", 9_999_999) + far[8:], reason="truncated"
    )
    yield Case("lie-tiff-entries", lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(100), reason="truncated")
    beyond = Directory(one.tags | {279: [9_000_000] * len(one.strips)}, one.strips)
    yield Case("lie-tiff-lengths", partial(tiff, beyond), ramp())
    planes = picture(ramp(), 2, planar=True)
    fewer = Directory(planes.tags, planes.strips[:-1])
    yield Case("lie-tiff-strip-missing", partial(tiff, fewer), reason="truncated")
    missing = Directory(one.tags, one.strips[:-1])
    yield Case("lie-tiff-last-strip-missing", partial(tiff, missing), reason="truncated")
    flate = picture(ramp(), 2, compression=8)
    yield Case(
        "lie-tiff-deflate-beyond-the-end", partial(_beyond, tiff(flate), flate.strips[-1]), reason="truncated"
    )
    short = Directory({**picture(ramp(), 2, compression=8).tags}, [zlib.compress(b"short")] * 3)
    yield Case("lie-tiff-strips-short", partial(tiff, short), reason="unreadable")


def _beyond(data: bytes, strip: bytes) -> bytes:
    """The file with the offset of one strip behind its end."""
    at = data.index(struct.pack("<I", data.index(strip)))
    return replaced(data, at, struct.pack("<I", len(data) + 1000))


def polyglots() -> Iterator[Case]:
    """One file, two formats: what it begins with counts."""
    flat = of(quarters())
    script = segment(0xFE, b"*/=1;alert(1)/*")
    yield Case("polyglot-jpeg-script", lambda: behind_start(plain(), script), flat, tolerance=8)
    yield Case(
        "polyglot-jpeg-zip",
        lambda: plain() + b"PK\3\4" + bytes(300) + b"PK\5\6" + bytes(18),
        flat,
        tolerance=8,
    )
    yield Case("polyglot-jpeg-pdf", lambda: plain() + b"%PDF-1.7\n%%EOF", flat, tolerance=8)
    gif = screen(9, 7, frame(indices(), 0, 0, None, False))
    yield Case("polyglot-gif-script", lambda: gif[:-1] + b"!\xfe\x03*/=\0;//", gif_pixels())
    php = chunk(b"tEXt", b"Comment\0<?php system($_GET[0]); ?>")
    yield Case("polyglot-png-php", partial(whole, ramp().astype(np.uint16), 8, 2, php), ramp())
    inner = packed(ramp().astype(np.uint16), 8)
    yield Case("polyglot-png-jpeg", partial(_png_then, inner, plain()), ramp())
    yield Case("polyglot-html-jpeg", lambda: b"<html>" + plain(), reason="not_an_image")
    yield Case(
        "polyglot-text-png", lambda: b"hello" + whole(ramp().astype(np.uint16), 8, 2), reason="not_an_image"
    )


def gif_pixels() -> np.ndarray:
    from tests.imaging.hostile.gif import COLOURS

    return COLOURS[indices()]


def _png_then(rows: bytes, behind: bytes) -> bytes:
    body = chunk(b"IDAT", zlib.compress(rows))
    return SIGNATURE + header(20, 12, 8, 2) + body + chunk(b"IEND", b"") + behind


def cases() -> Iterator[Case]:
    yield from bombs()
    yield from numbers()
    yield from polyglots()
