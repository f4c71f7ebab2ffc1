"""Camera raws: TIFFs whose first directory is a thumbnail, and the sensor's values behind it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from tests.imaging.hostile.camera_raw import dng, dng_with_preview
from tests.imaging.hostile.case import Case, Pixels, ramp
from tests.imaging.hostile.tiff_writer import Directory, picture, tiff
from tests.imaging.hostile.turns import stored
from tests.imaging.odd_files import encoded

SENSOR, LINEAR = 32803, 34892


def thumbnail(maker: bytes, tags: dict[int, Any] | None = None) -> Directory:
    return picture(ramp(96, 64), 2, tags={254: 1, 271: maker + b"\0", 272: b"X-1000\0"} | (tags or {}))


def sensor(photometric: int = SENSOR, compression: int = 1) -> Directory:
    values = np.random.default_rng(1).integers(0, 4096, (64, 96)).astype(np.uint16)
    return picture(values, photometric, compression=compression, tags={254: 0})


def camera_raw(
    maker: bytes, photometric: int = SENSOR, order: str = "<", tags: dict[int, Any] | None = None
) -> bytes:
    """As DNG and NEF do it: the sensor's values in a directory inside of the thumbnail's."""
    first = thumbnail(maker, tags)
    return tiff(Directory(first.tags, first.strips, [sensor(photometric)]), order=order)


def canon() -> bytes:
    """CR2: the mark stands in the header, the sensor's directory last in the chain, as lossless JPEG."""
    preview = picture(ramp(96, 64), 2, tags={271: b"Canon\0"})
    last = Directory({259: 6, 50752: [1, 2, 3]}, [b"\xff\xd8\xff\xc4" + bytes(80)])
    body = tiff(preview, last)
    return body[:4] + (16).to_bytes(4, "little") + b"CR\2\0" + bytes(4) + _shifted(body)


def _shifted(body: bytes) -> bytes:
    """CR2 has sixteen bytes of header; a preview whose directory is where it says is enough here."""
    first = picture(ramp(96, 64), 2, tags={271: b"Canon\0", 254: 0})
    number = len(first.tags) + 2
    return number.to_bytes(2, "little") + tiff(first)[-number * 12 - 4 :]


def patches() -> Pixels:
    """160 × 120: four patches of other colours, one of them white, so that nothing is made brighter."""
    pixels = np.full((120, 160, 3), 255, np.uint8)
    pixels[:60, :80], pixels[:60, 80:], pixels[60:, 80:] = (200, 40, 30), (20, 180, 60), (40, 60, 220)
    return pixels


def preview(side: int, pixels: Pixels | None = None) -> bytes:
    """Every ``side``-th pixel of the patches as the camera's JPEG."""
    seen = patches() if pixels is None else pixels
    return encoded(Image.fromarray(seen[::side, ::side]), "JPEG", quality=95, subsampling=0)


def sensors() -> Iterator[Case]:
    for value in range(1, 9):
        seen = preview(2, stored(patches(), value))
        size = (80, 60) if value < 5 else (60, 80)
        shown = partial(dng_with_preview, stored(patches() // 2, value), seen, size, value)
        yield Case(f"raw-dng-preview-turn{value}", shown, patches()[::2, ::2], tolerance=4)
    ready = partial(dng_with_preview, stored(patches(), 6), preview(2), (80, 60), 6)
    yield Case("raw-dng-preview-turned-already", ready, patches()[::2, ::2], tolerance=4)
    white = np.full((120, 160, 3), 255, np.uint8)
    yield Case("raw-dng-white", partial(dng, white), white)
    small = partial(dng_with_preview, white, preview(4), (40, 30))
    yield Case("raw-dng-beside-a-thumbnail", small, white, tolerance=1)
    yield Case("raw-dng-cut", lambda: dng(patches())[:-20_000], reason="truncated")
    yield Case("raw-dng-cut-in-tags", lambda: dng(patches())[:200], reason="truncated")


def cases() -> Iterator[Case]:
    yield from sensors()
    version = {50706: bytes([1, 4, 0, 0])}
    alone = picture(ramp(), 2, tags={254: 0} | version)
    yield Case("raw-dng-version-alone", partial(tiff, alone), reason="unsupported", says="camera raw (DNG)")
    yield Case("raw-cr2", canon, reason="unsupported", says="camera raw (CR2)")
    for name, head in (
        ("raf", b"FUJIFILMCCD-RAW 0201"),
        ("cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
        ("x3f", b"FOVb\0\0\2\0"),
        ("crw", b"II\x1a\0\0\0HEAPCCDR"),
        ("mrw", b"\0MRM\0\0\0\0"),
    ):
        yield Case(
            f"raw-{name}", partial(bytes.ljust, head, 600, b"\1"), reason="unsupported", says="camera raw"
        )
    for name, head in (
        ("orf", b"IIRO\x08\0\0\0"),
        ("orf-2", b"IIRS\x08\0\0\0"),
        ("rw2", b"IIU\0\x18\0\0\0"),
    ):
        yield Case(
            f"raw-{name}", partial(bytes.ljust, head, 600, b"\1"), reason="truncated", says="camera raw"
        )
