"""Files that end too early: inside of every structure, and at its border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from PIL import Image

from tests.imaging.hostile import avif
from tests.imaging.hostile.case import Case, ramp
from tests.imaging.hostile.tiff_writer import picture, tiff
from tests.imaging.odd_files import encoded, noise


def png_borders(data: bytes) -> list[int]:
    at, found = 8, []
    while at < len(data):
        found.append(at)
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def jpeg_borders(data: bytes) -> list[int]:
    at, found = 2, []
    while data[at + 1] != 0xDA:
        found.append(at)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return [*found, at]


def riff_borders(data: bytes) -> list[int]:
    at, found = 12, []
    while at < len(data):
        found.append(at)
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return found


def box_borders(data: bytes) -> list[int]:
    at, found = 0, []
    while at < len(data):
        at += int.from_bytes(data[at : at + 4], "big") or len(data)
        found.append(at)
    return found[:-1]


@cache
def whole(name: str) -> bytes:
    picture_of = noise()
    if name == "TIFF-DEFLATE":
        return tiff(picture(ramp(64, 48), 2, compression=8))
    if name == "TIFF":
        return encoded(picture_of, "TIFF")
    if name == "AVIF":
        return avif.plain()
    return encoded(picture_of, name, **{"WEBP": {"lossless": True}, "JPEG": {"quality": 90}}.get(name, {}))


BORDERS: dict[str, Callable[[bytes], list[int]]] = {
    "PNG": png_borders,
    "JPEG": jpeg_borders,
    "WEBP": riff_borders,
    "AVIF": box_borders,
    "GIF": lambda data: [13, 13 + 768, 13 + 768 + 10],
    "BMP": lambda data: [14, 54],
    "TIFF": lambda data: [8, len(data) // 3],
    "TIFF-DEFLATE": lambda data: [8, 40],
    "PPM": lambda data: [15],
    "QOI": lambda data: [14],
    "JPEG2000": box_borders,
    "DDS": lambda data: [128],
    "SGI": lambda data: [512],
}
_LEAST = {
    "PNG": 8,
    "JPEG": 3,
    "WEBP": 12,
    "AVIF": 12,
    "GIF": 6,
    "BMP": 20,
    "TIFF": 8,
    "TIFF-DEFLATE": 8,
    "PPM": 15,
    "QOI": 4,
    "JPEG2000": 12,
    "DDS": 128,
    "SGI": 512,
}
"""Bytes that it takes to tell the format."""
_TOO_SHORT = {"PNG": 3, "JPEG": 1, "WEBP": 6, "AVIF": 6, "GIF": 3}
"""Lengths at which nobody can tell it."""


def lengths(name: str) -> list[int]:
    data = whole(name)
    borders = BORDERS[name](data)
    inner = [at + 5 for at in borders]
    shares = [len(data) * share // 100 for share in (10, 30, 50, 70, 90)]
    return sorted({at for at in (*borders, *inner, *shares) if _LEAST[name] <= at < len(data) - 16})


def cases() -> Iterator[Case]:
    for name in BORDERS:
        for length in lengths(name):
            yield Case(
                f"cut-{name.lower()}-{length}",
                lambda name=name, length=length: whole(name)[:length],
                reason="truncated",
            )
        if length := _TOO_SHORT.get(name):
            data = whole(name)[:length]
            yield Case(f"cut-{name.lower()}-{length}", lambda data=data: data, reason="not_an_image")
    icon = encoded(Image.fromarray(ramp()), "ICO")
    for length in (22, len(icon) // 2):
        yield Case(f"cut-ico-{length}", lambda length=length: icon[:length], reason="truncated")
