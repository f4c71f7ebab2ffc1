"""TIFF files by hand: directories, strips and tiles of any numbers, classic and big, in both byte orders."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BYTE, ASCII, SHORT, LONG, IFD8 = 1, 2, 3, 4, 18
_SIZES = {BYTE: (1, "B"), ASCII: (1, "B"), SHORT: (2, "H"), LONG: (4, "I"), IFD8: (8, "Q"), 7: (1, "B")}


@dataclass
class Directory:
    """One image file directory: tags by number, values as numbers or bytes; ``strips`` are its pixels."""

    tags: dict[int, Sequence[int] | bytes | int]
    strips: list[bytes] = field(default_factory=list)
    inside: list[Directory] = field(default_factory=list)
    """SubIFDs."""
    tiled: bool = False


def _kind(tag: int, values: Sequence[int] | bytes) -> int:
    if isinstance(values, bytes):
        return ASCII if tag in (271, 272) else BYTE if tag in (700, 50706) else 7
    return LONG if tag in (254, 256, 257, 273, 278, 279, 322, 323, 324, 325, 330) else SHORT


def tiff(*directories: Directory, order: str = "<", big: bool = False) -> bytes:
    """A file of these directories, chained."""
    mark = b"II" if order == "<" else b"MM"
    pointer, count = ("Q", "Q") if big else ("I", "H")
    head = mark + (struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42))
    body = bytearray(head + struct.pack(order + pointer, 0))
    link = len(head)
    for directory in directories:
        at = _written(body, directory, order, big)
        struct.pack_into(order + pointer, body, link, at)
        link = at + struct.calcsize(order + count) + len(_all_tags(directory)) * (20 if big else 12)
    return bytes(body)


def _all_tags(directory: Directory) -> set[int]:
    extra = {330} if directory.inside else set()
    places = ({324, 325} if directory.tiled else {273, 279}) if directory.strips else set()
    return set(directory.tags) | extra | places


def _written(body: bytearray, directory: Directory, order: str, big: bool) -> int:
    """Append the directory and all that it holds; where it begins."""
    tags: dict[int, Any] = dict(directory.tags)
    offsets = [_appended(body, strip) for strip in directory.strips]
    if offsets:
        where, lengths = (324, 325) if directory.tiled else (273, 279)
        tags[where] = offsets
        tags.setdefault(lengths, [len(strip) for strip in directory.strips])
    if directory.inside:
        tags[330] = [_written(body, one, order, big) for one in directory.inside]
    entries, room = b"", 8 if big else 4
    for tag, given in sorted(tags.items()):
        values = [given] if isinstance(given, int) else given
        kind = _kind(tag, values)
        content = b"".join(struct.pack(order + _SIZES[kind][1], value) for value in values)
        if len(content) > room:
            content = struct.pack(order + ("Q" if big else "I"), _appended(body, content))
        entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(values)) + content.ljust(
            room, b"\0"
        )
    number = struct.pack(order + ("Q" if big else "H"), len(tags))
    return _appended(body, number + entries + bytes(room))


def _appended(body: bytearray, content: bytes) -> int:
    body += b"\0" * (len(body) % 2)
    at = len(body)
    body += content
    return at


def packed(data: bytes, compression: int) -> bytes:
    if compression == 34925:
        return lzma.compress(data)
    return zlib.compress(data) if compression in (8, 32946) else data


def picture(
    samples: NDArray[Any],
    photometric: int,
    *,
    order: str = "<",
    planar: bool = False,
    compression: int = 1,
    rows: int = 5,
    tags: dict[int, Any] | None = None,
    predictor: int = 1,
) -> Directory:
    """[H, W] or [H, W, C] of any type as strips."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    bits = samples.dtype.itemsize * 8
    planes = (
        [samples[..., [one]] for one in range(channels)] if planar else [samples.reshape(height, width, -1)]
    )
    strips = [
        packed(_predicted(plane[at : at + rows], order, predictor), compression)
        for plane in planes
        for at in range(0, height, rows)
    ]
    described: dict[int, Any] = {
        256: width,
        257: height,
        258: [bits] * channels,
        259: compression,
        262: photometric,
    }
    described |= {277: channels, 278: rows, 284: 2 if planar else 1, 339: [kind] * channels}
    if predictor != 1:
        described[317] = predictor
    return Directory(described | (tags or {}), strips)


def _predicted(strip: NDArray[Any], order: str, predictor: int) -> bytes:
    if predictor == 2:  # differences of whole words, also where these are the bits of real numbers
        words = strip.copy().view(f"u{strip.dtype.itemsize}")
        words[:, 1:] -= words[:, :-1].copy()
        strip = words
    if predictor == 3:  # Adobe's: bytes of a row by significance, then differences
        height, width, channels = strip.shape
        parts = strip.astype(">" + strip.dtype.str[1:]).view(np.uint8).reshape(height, width * channels, -1)
        flat = parts.transpose(0, 2, 1).reshape(height, -1)
        steps = flat.copy()
        steps[:, channels:] -= flat[:, :-channels]
        return steps.tobytes()
    return strip.astype(strip.dtype.newbyteorder(order)).tobytes()


def tiles(
    samples: NDArray[Any],
    side: int = 16,
    planar: bool = False,
    *,
    photometric: int = 2,
    order: str = "<",
    compression: int = 1,
    predictor: int = 1,
) -> Directory:
    """[H, W, C] of any type as padded tiles."""
    height, width, channels = samples.shape
    down, across = -(-height // side), -(-width // side)
    room = np.zeros((down * side, across * side, channels), samples.dtype)
    room[:height, :width] = samples
    planes = [room[..., [one]] for one in range(channels)] if planar else [room]
    parts = [
        packed(
            _predicted(plane[y * side : (y + 1) * side, x * side : (x + 1) * side], order, predictor),
            compression,
        )
        for plane in planes
        for y in range(down)
        for x in range(across)
    ]
    described = picture(
        samples, photometric, planar=planar, compression=compression, predictor=predictor
    ).tags
    tags = {tag: value for tag, value in described.items() if tag != 278}
    return Directory(tags | {322: side, 323: side}, parts, tiled=True)
