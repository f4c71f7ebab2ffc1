"""Camera raws: TIFFs whose first directory is a thumbnail, and the sensor's values behind it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from tests.imaging.hostile.case import Case, ramp
from tests.imaging.hostile.tiff_writer import Directory, picture, tiff

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


def cases() -> Iterator[Case]:
    version = {50706: bytes([1, 4, 0, 0])}
    for name, order in (("le", "<"), ("be", ">")):
        dng = partial(camera_raw, b"Maker", SENSOR, order, version)
        yield Case(f"raw-dng-{name}", dng, reason="unsupported", says="camera raw (DNG)")
    linear = partial(camera_raw, b"Maker", LINEAR, "<", version)
    yield Case("raw-dng-linear", linear, reason="unsupported", says="camera raw (DNG)")
    alone = picture(ramp(), 2, tags={254: 0} | version)
    yield Case("raw-dng-version-alone", partial(tiff, alone), reason="unsupported", says="camera raw (DNG)")
    for maker, words in (
        (b"NIKON CORPORATION", "NEF"),
        (b"SONY", "ARW"),
        (b"PENTAX", "PEF"),
        (b"SAMSUNG", "SRW"),
        (b"Hasselblad", "camera raw"),
        (b"", "camera raw"),
    ):
        name = words.lower().replace(" ", "-") + ("-unnamed" if not maker else "")
        yield Case(f"raw-{name}", partial(camera_raw, maker), reason="unsupported", says=words)
    chained = partial(tiff, thumbnail(b"Maker"), sensor())
    yield Case("raw-chained", chained, reason="unsupported", says="camera raw")
    yield Case(
        "raw-sensor-first", partial(tiff, sensor(), thumbnail(b"M")), reason="unsupported", says="camera raw"
    )
    yield Case("raw-cr2", canon, reason="unsupported", says="camera raw (CR2)")
    for name, head in (
        ("orf", b"IIRO\x08\0\0\0"),
        ("orf-2", b"IIRS\x08\0\0\0"),
        ("rw2", b"IIU\0\x18\0\0\0"),
        ("raf", b"FUJIFILMCCD-RAW 0201"),
        ("cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
        ("x3f", b"FOVb\0\0\2\0"),
        ("crw", b"II\x1a\0\0\0HEAPCCDR"),
        ("mrw", b"\0MRM\0\0\0\0"),
    ):
        yield Case(
            f"raw-{name}", partial(bytes.ljust, head, 600, b"\1"), reason="unsupported", says="camera raw"
        )
