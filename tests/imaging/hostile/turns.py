"""Orientation 1 to 8, by EXIF and by XMP, in every format that carries them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from tests.imaging.hostile.case import Case, Pixels, of, ramp
from tests.imaging.hostile.png import SIGNATURE, header, packed
from tests.imaging.hostile.tiff_writer import picture, tiff
from tests.imaging.hostile.webp import extended, stream
from tests.imaging.odd_files import ORIENTATION, chunk, encoded, quarters


def stored(upright: Pixels, orientation: int) -> Pixels:
    """What a camera stores, read through the definition: where row 0 and column 0 belong (EXIF 2.3)."""
    rows_first, flip_rows, flip_columns = {
        1: (True, False, False), 2: (True, False, True), 3: (True, True, True), 4: (True, True, False),
        5: (False, False, False), 6: (False, True, False), 7: (False, True, True), 8: (False, False, True),
    }[orientation]  # fmt: skip
    pixels = upright if rows_first else upright.transpose(1, 0, 2)
    pixels = pixels[::-1] if flip_rows else pixels
    return np.ascontiguousarray(pixels[:, ::-1] if flip_columns else pixels)


def exif(orientation: int) -> bytes:
    """A TIFF that holds the tag alone."""
    return b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHHI", ORIENTATION, 3, 1, orientation, 0, 0)


def xmp(orientation: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/>'
        b"</rdf:RDF></x:xmpmeta>" % orientation
    )


def png(pixels: Pixels, *before: bytes, after: bytes = b"") -> bytes:
    height, width = pixels.shape[:2]
    body = chunk(b"IDAT", zlib.compress(packed(pixels.astype(np.uint16), 8)))
    return b"".join((SIGNATURE, header(width, height, 8, 2), *before, body, after, chunk(b"IEND", b"")))


def webp(pixels: Pixels, kind: bytes, flag: int, body: bytes) -> bytes:
    height, width = pixels.shape[:2]
    return extended(flag, width, height, (b"VP8L", stream(Image.fromarray(pixels))), (kind, body))


def lossless(value: int) -> Iterator[Case]:
    pixels = stored(ramp(), value)
    itxt = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(value))
    yield Case(f"turn{value}-png-exif", partial(png, pixels, chunk(b"eXIf", exif(value))), ramp())
    yield Case(
        f"turn{value}-png-exif-behind", partial(png, pixels, after=chunk(b"eXIf", exif(value))), ramp()
    )
    yield Case(f"turn{value}-png-xmp", partial(png, pixels, itxt), ramp())
    yield Case(f"turn{value}-png-both", partial(png, pixels, chunk(b"eXIf", exif(value)), itxt), ramp())
    yield Case(f"turn{value}-webp-exif", partial(webp, pixels, b"EXIF", 8, exif(value)), ramp())
    yield Case(f"turn{value}-webp-xmp", partial(webp, pixels, b"XMP ", 4, xmp(value)), ramp())
    for compression in (1, 8):
        one = partial(picture, pixels, 2, compression=compression)
        kind = "deflate" if compression == 8 else "raw"
        yield Case(f"turn{value}-tiff-{kind}", lambda one=one: tiff(one(tags={274: value})), ramp())
    planes = partial(picture, pixels, 2, planar=True, compression=8)
    yield Case(f"turn{value}-tiff-planes", lambda: tiff(planes(tags={274: value})), ramp())
    raw = partial(picture, pixels, 2)
    yield Case(f"turn{value}-tiff-both", lambda: tiff(raw(tags={274: value, 700: xmp(value)})), ramp())
    yield Case(f"turn{value}-tiff-xmp", lambda: tiff(raw(tags={700: xmp(value)})), ramp())


def lossy(value: int) -> Iterator[Case]:
    flat = of(quarters())
    pixels = Image.fromarray(stored(flat, value))
    tag = Image.Exif()
    tag[ORIENTATION] = value
    both = tag.tobytes()  # writers take what they like out of the object
    jpeg = partial(encoded, pixels, "JPEG", quality=95, subsampling=0)
    yield Case(f"turn{value}-jpeg-exif", partial(jpeg, exif=both), flat, tolerance=8)
    yield Case(f"turn{value}-jpeg-xmp", partial(jpeg, xmp=xmp(value)), flat, tolerance=8)
    yield Case(f"turn{value}-jpeg-both", partial(jpeg, exif=both, xmp=xmp(value)), flat, tolerance=8)
    avif = partial(encoded, pixels, "AVIF", quality=95, subsampling="4:4:4", exif=both)
    yield Case(f"turn{value}-avif", avif, flat, tolerance=8)


def cases() -> Iterator[Case]:
    for value in range(1, 9):
        yield from lossless(value)
        yield from lossy(value)
    for value in (0, 9, 65535):
        yield Case(f"turn{value}-png-exif", partial(png, ramp(), chunk(b"eXIf", exif(value))), ramp())
    broken = chunk(b"eXIf", b"MM\0*\0\0\xff\xff" + bytes(20))
    yield Case("turn-png-broken-exif", partial(png, ramp(), broken), ramp())
