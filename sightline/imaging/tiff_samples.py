"""The samples of a TIFF as an array, whatever their number, size, order and arrangement.

libtiff, through Pillow, undoes compressions; what the bytes mean is read here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, TiffImagePlugin

from sightline.errors import ImageRejected
from sightline.imaging import tiff_fields as tags

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sightline.imaging.tiff_fields import Directory

_RAW: Final = 1
_DEFLATE: Final = (8, 32946)
_PREDICTED: Final = (5, *_DEFLATE, 34925, 50000)
"""Compressions that a predictor goes with; libtiff, like most, ignores it in other files."""
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_FILES_INSIDE: Final = {33003: "JPEG2000", 33005: "JPEG2000", 34712: "JPEG2000", 50001: "WEBP"}
_YCC_INSIDE: Final = 33003
_YCC: Final = 6
_MOST_SEGMENTS: Final = 1 << 20
_LARGE_TILE: Final = 1 << 24
"""Pixels that a tile may have though the picture has fewer."""
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3


@dataclass(frozen=True)
class Segment:
    """One strip or tile: the channels it holds, its place, its stored size, and its bytes."""

    channels: slice
    top: int
    left: int
    height: int
    width: int
    data: bytes


@dataclass(frozen=True)
class Layout:
    """How samples lie in a directory's segments."""

    width: int
    height: int
    channels: int
    bits: int
    kind: int
    compression: int
    predictor: int
    order: str
    reversed_bits: bool
    planar: bool

    @property
    def dtype(self) -> str:
        """The numpy type of a stored sample of 8, 16, 32 or 64 bits, without its order."""
        return {_SIGNED: "i", _FLOAT: "f"}.get(self.kind, "u") + str(self.bits // 8)


def read_samples(directory: Directory) -> NDArray[Any]:
    """[height, width, channels] of the numbers as stored, of the smallest type that holds them.

    Raises:
        ImageRejected: ``truncated``, ``unreadable`` or ``unsupported``.
    """
    import numpy as np

    layout = _layout(directory)
    whole: NDArray[Any] | None = None
    for segment in _segments(directory, layout):
        part = _numbers(segment, layout, directory)
        if whole is None:
            whole = np.zeros((layout.height, layout.width, layout.channels), part.dtype)
        rows = min(segment.height, layout.height - segment.top)
        columns = min(segment.width, layout.width - segment.left)
        target = whole[
            segment.top : segment.top + rows, segment.left : segment.left + columns, segment.channels
        ]
        target[...] = part[:rows, :columns, : target.shape[-1]]
    if whole is None:
        raise ImageRejected("unreadable", "The TIFF file names no strips and no tiles.")
    return whole


def _layout(directory: Directory) -> Layout:
    channels = directory.number(tags.SAMPLES, 1)
    bits = set((directory.numbers(tags.BITS) or (1,))[:channels])
    kinds = set((directory.numbers(tags.FORMAT) or (_UNSIGNED,))[:channels])
    if len(bits) != 1 or len(kinds) != 1:
        raise ImageRejected("unsupported", "TIFF pictures with samples of several sizes are not supported.")
    depth, kind = bits.pop(), kinds.pop()
    whole = depth in (16, 32, 64) if kind == _FLOAT else depth in (8, 16, 32) or 0 < depth < 16
    if not whole or (kind == _SIGNED and depth not in (8, 16, 32)):
        words = {_FLOAT: "float", _SIGNED: "signed"}.get(kind, "")
        raise ImageRejected(
            "unsupported", f"TIFF pictures with {depth}-bit {words} samples are not supported."
        )
    compression = directory.number(tags.COMPRESSION, _RAW)
    return Layout(
        directory.number(tags.WIDTH, 0),
        directory.number(tags.HEIGHT, 0),
        channels,
        depth,
        kind,
        compression,
        _predictor(directory, compression, depth, kind),
        directory.order,
        directory.number(tags.FILL_ORDER, 1) == 2,
        directory.number(tags.PLANAR, 1) == 2 and channels > 1,
    )


def _predictor(directory: Directory, compression: int, bits: int, kind: int) -> int:
    """The predictor to undo; 1 for none."""
    predictor = directory.number(tags.PREDICTOR, 1) if compression in _PREDICTED else 1
    fits = {1: True, _DIFFERENCES: bits in (8, 16, 32, 64), _FLOAT_DIFFERENCES: kind == _FLOAT}
    if not fits.get(predictor, False):
        words = {_FLOAT: "float", _SIGNED: "signed"}.get(kind, "unsigned")
        detail = f"TIFF pictures with predictor {predictor} on {bits}-bit {words} samples are not supported."
        raise ImageRejected("unsupported", detail)
    return predictor


# --- where the segments are ---------------------------------------------------------------------------------


def _segments(directory: Directory, layout: Layout) -> Iterator[Segment]:
    tiled, (offsets, lengths) = directory.is_tiled, directory.pieces
    width = directory.number(tags.TILE_WIDTH, 0) if tiled else layout.width
    rows = directory.number(tags.TILE_HEIGHT if tiled else tags.ROWS_PER_STRIP, 0 if tiled else layout.height)
    rows = rows if tiled else min(rows, layout.height)
    if not 0 < width * rows <= max(_LARGE_TILE, layout.width * layout.height):
        raise ImageRejected("unreadable", "The size of the TIFF file's strips or tiles makes no sense.")
    places = list(_places(layout, width, rows))
    if len(offsets) < len(places):
        raise ImageRejected(
            "truncated", f"The TIFF file names {len(offsets)} of {len(places)} strips or tiles."
        )
    for number, (channels, top, left) in enumerate(places):
        start = offsets[number]
        length = lengths[number] if number < len(lengths) else len(directory.data)
        height = rows if tiled else min(rows, layout.height - top)
        yield Segment(channels, top, left, height, width, directory.data[start : start + length])


def _places(layout: Layout, width: int, rows: int) -> Iterator[tuple[slice, int, int]]:
    planes = [slice(one, one + 1) for one in range(layout.channels)] if layout.planar else [slice(None)]
    down, across = -(-layout.height // rows), -(-layout.width // width)
    if len(planes) * down * across > _MOST_SEGMENTS:
        raise ImageRejected("unreadable", "The TIFF file has too many strips or tiles.")
    for plane in planes:
        for top in range(down):
            for left in range(across):
                yield plane, top * rows, left * width


# --- from bytes to numbers ----------------------------------------------------------------------------------


def _numbers(segment: Segment, layout: Layout, directory: Directory) -> NDArray[Any]:
    """[height, width, channels] of one segment."""
    import numpy as np

    if layout.compression in _FILES_INSIDE:
        return _file_inside(segment, layout)
    channels = 1 if layout.planar else layout.channels
    if directory.number(tags.PHOTOMETRIC, 1) == _YCC:
        factors = directory.numbers(tags.SUBSAMPLING)
        if layout.bits == 8 and layout.compression == _RAW and not layout.planar:
            return _subsampled(segment, factors or (2, 2))
        if set(factors) - {1}:
            raise ImageRejected(
                "unsupported", "TIFF pictures with subsampled chroma in this layout are not supported."
            )
    row_bytes = -(-segment.width * channels * layout.bits // 8)
    data = _uncompressed(segment, layout, row_bytes)
    rows = np.frombuffer(data, np.uint8).reshape(segment.height, row_bytes)
    if layout.reversed_bits and layout.compression != _RAW and layout.bits >= 8:
        pass  # libtiff has put the bits in order; whole bytes are never reversed by others
    elif layout.reversed_bits:
        rows = np.packbits(np.unpackbits(rows, axis=1).reshape(len(rows), -1, 8)[..., ::-1], axis=2)[..., 0]
    if layout.predictor == _FLOAT_DIFFERENCES:
        return _undo_float_predictor(rows, segment.width, channels, layout)
    if layout.bits % 8 or layout.bits == 24:
        return _unpacked(rows, layout.bits, segment.width, channels)
    # Differences are of whole words, also where these are the bits of real numbers.
    word = f"u{layout.bits // 8}"
    values = rows.view(layout.order + word).reshape(segment.height, segment.width, channels).astype(word)
    if layout.predictor == _DIFFERENCES:
        values = np.cumsum(values, axis=1, dtype=values.dtype)
    return values.view(layout.dtype)


def _unpacked(rows: NDArray[np.uint8], bits: int, width: int, channels: int) -> NDArray[Any]:
    """Samples that are no whole bytes, the highest bit first."""
    import numpy as np

    each = np.unpackbits(rows, axis=1)[:, : width * channels * bits]
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint16)
    values = each.reshape(len(rows), width, channels, bits).astype(np.uint16) @ weights
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def _undo_float_predictor(rows: NDArray[np.uint8], width: int, channels: int, layout: Layout) -> NDArray[Any]:
    """Adobe's: in each row the bytes stand by significance, as differences."""
    import numpy as np

    steps = rows.reshape(len(rows), -1, channels)
    summed = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(len(rows), layout.bits // 8, -1)
    together = np.ascontiguousarray(summed.transpose(0, 2, 1))
    return together.view(">" + layout.dtype).reshape(len(rows), width, channels).astype(layout.dtype)


def _subsampled(segment: Segment, factors: tuple[int, ...]) -> NDArray[np.uint8]:
    """[H, W, 3] YCbCr from units of luma blocks that share one pair of chroma."""
    import numpy as np

    across, down = factors[0], factors[-1]
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise ImageRejected("unreadable", "The chroma subsampling of the TIFF file makes no sense.")
    columns, rows = -(-segment.width // across), -(-segment.height // down)
    size = rows * columns * (across * down + 2)
    units = np.frombuffer(_whole(segment.data, size), np.uint8).reshape(rows, columns, -1)
    luma = units[..., :-2].reshape(rows, columns, down, across).transpose(0, 2, 1, 3)
    chroma = units[..., -2:].repeat(down, 0).repeat(across, 1)
    joined = np.concatenate([luma.reshape(rows * down, columns * across, 1), chroma], -1)
    return joined[: segment.height, : segment.width]


def _uncompressed(segment: Segment, layout: Layout, row_bytes: int) -> bytes:
    size = segment.height * row_bytes
    if layout.compression == _RAW:
        return _whole(segment.data, size)
    if layout.compression in _DEFLATE and not layout.reversed_bits:
        try:
            return _whole(zlib.decompressobj().decompress(segment.data, size), size)
        except zlib.error as error:
            raise ImageRejected("unreadable", f"The TIFF file is broken: {error}.") from error
    return _by_libtiff(segment, layout, row_bytes)


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise ImageRejected("truncated", f"A strip or tile of the TIFF file has {len(data)} of {size} bytes.")
    return data[:size]


def _by_libtiff(segment: Segment, layout: Layout, row_bytes: int) -> bytes:
    """The segment as a TIFF of bytes: one strip of 8-bit grey, with its compression and no predictor."""
    described = {tags.WIDTH: row_bytes, tags.HEIGHT: segment.height, tags.BITS: 8, tags.SAMPLES: 1}
    described |= {tags.COMPRESSION: layout.compression, tags.PHOTOMETRIC: 1, tags.STRIPS: 8}
    described |= {tags.FILL_ORDER: 2 if layout.reversed_bits else 1}
    described |= {tags.ROWS_PER_STRIP: segment.height, tags.STRIP_BYTES: len(segment.data)}
    place = 8 + len(segment.data) + len(segment.data) % 2
    head = b"II*\0" + struct.pack("<I", place) + segment.data + b"\0" * (len(segment.data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(described.items()))
    file = BytesIO(head + struct.pack("<H", len(described)) + entries + bytes(4))
    with TiffImagePlugin.TiffImageFile(file) as opened:
        return opened.tobytes()


def _file_inside(segment: Segment, layout: Layout) -> NDArray[np.uint8]:
    import numpy as np

    with Image.open(BytesIO(segment.data), formats=(_FILES_INSIDE[layout.compression],)) as opened:
        if opened.size != (segment.width, segment.height):
            raise ImageRejected(
                "unreadable", "A strip or tile of the TIFF file has another size than it says."
            )
        picture = opened.convert("RGB") if layout.channels == 3 and opened.mode != "RGB" else opened
        if layout.compression == _YCC_INSIDE and picture.mode == "RGB":
            picture = Image.frombytes("YCbCr", picture.size, picture.tobytes()).convert("RGB")
        values = np.asarray(picture)
    values = values.reshape(segment.height, segment.width, -1)
    if values.shape[-1] < layout.channels:
        raise ImageRejected("unreadable", "A strip or tile of the TIFF file has fewer channels than it says.")
    return values
