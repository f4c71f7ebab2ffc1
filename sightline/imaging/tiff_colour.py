"""Samples of a TIFF as a picture: what their numbers, channels and colour space mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from sightline.errors import ImageRejected
from sightline.imaging import tiff_fields as tags
from sightline.imaging.depth import SIXTEEN_BITS, Range, bands, range_of, scaled, table
from sightline.imaging.profiles import light_of_profile, to_srgb8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sightline.imaging.tiff_fields import Directory

_WHITE_IS_ZERO, _RGB, _PALETTE, _INKS, _YCC, _LAB, _ICC_LAB = 0, 2, 3, 5, 6, 8, 9
_CHANNELS: Final = {_RGB: 3, _INKS: 4, _YCC: 3, _LAB: 3, _ICC_LAB: 3}
_PREMULTIPLIED, _ALPHA = 1, 2
_LABS: Final = (_LAB, _ICC_LAB)
_ICC_L_WHITE: Final = 0xFF00
"""L = 100 in ICC Lab of 16 bits."""
_MODES: Final = {_INKS: "CMYK", _YCC: "YCbCr", _LAB: "LAB", _ICC_LAB: "LAB"}


def as_picture(directory: Directory, samples: NDArray[Any], profile: bytes) -> tuple[Image.Image, bool]:
    """The picture of [H, W, C] samples in a mode of 8 bits, and whether its profile has been applied.

    Raises:
        ImageRejected: the palette or a channel is missing, or the numbers do not fit the colour space.
    """
    space = directory.number(tags.PHOTOMETRIC, _RGB if samples.shape[-1] >= 3 else 1)
    count = _CHANNELS.get(space, 1)
    if samples.shape[-1] < count:
        raise ImageRejected("unreadable", "The TIFF file has fewer channels than its colour space needs.")
    if space == _PALETTE:
        return _from_palette(directory, samples[..., 0]), False
    if space in (*_LABS, _YCC):
        _check_numbers(space, samples)
    bits = _white_bits(directory, samples)
    within = range_of(samples[..., :count]) if bits == 0 and space not in _LABS else None
    light = light_of_profile(profile, count) if profile and bits != 8 and space not in _MODES else None
    size = (samples.shape[1], samples.shape[0])
    picture: Image.Image | None = None
    for rows in bands(len(samples), samples.size):
        colours = samples[rows, :, :count]
        if space in _LABS:
            eight = _lab(colours, space)
        elif light is None:
            eight = _eight(colours, bits, within)
        else:
            eight = to_srgb8(_sixteen(colours, bits, within), light)
        alpha = _alpha(directory, samples[rows], count, space)
        part = _assembled(255 - eight if space == _WHITE_IS_ZERO else eight, alpha, space)
        picture = picture or Image.new(part.mode, size)
        picture.paste(part, (0, rows.start))
    return picture or Image.new("RGB", size), light is not None


def _white_bits(directory: Directory, samples: NDArray[Any]) -> int:
    """Bits of a sample; 0 for numbers that have no white level of their own."""
    bits = directory.number(tags.BITS, 1)
    return bits if samples.dtype.kind == "u" and bits <= 16 else 0


def _eight(values: NDArray[Any], bits: int, within: Range | None = None) -> NDArray[np.uint8]:
    import numpy as np

    if within is not None:
        return scaled(values, within, 255, np.uint8)
    return values if bits == 8 else table((1 << bits) - 1)[values]


def _sixteen(values: NDArray[Any], bits: int, within: Range | None) -> NDArray[np.uint16]:
    import numpy as np

    if within is not None:
        return scaled(values, within, SIXTEEN_BITS, np.uint16)
    return (values.astype(np.uint32) * SIXTEEN_BITS // ((1 << bits) - 1)).astype(np.uint16)


def _alpha(
    directory: Directory, samples: NDArray[Any], count: int, space: int
) -> tuple[int, NDArray[np.uint8]] | None:
    """The kind of alpha, and its values; None when no channel is one."""
    import numpy as np

    kinds = directory.numbers(tags.EXTRA)
    extra = samples.shape[-1] - count
    if not kinds and space == _RGB and extra == 1:
        kinds = (_ALPHA,)  # many writers leave the tag out
    at = next((at for at, kind in enumerate(kinds[:extra]) if kind in (_PREMULTIPLIED, _ALPHA)), None)
    if at is None:
        return None
    values, bits = samples[..., count + at], directory.number(tags.BITS, 1)
    if samples.dtype.kind == "f":
        return kinds[at], np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    if bits > 16:
        return kinds[at], (np.maximum(values, 0) >> (bits - 8)).astype(np.uint8)
    return kinds[at], _eight(values.astype(np.uint16) if bits != 8 else values, bits)


def _assembled(
    eight: NDArray[np.uint8], alpha: tuple[int, NDArray[np.uint8]] | None, space: int
) -> Image.Image:
    import numpy as np

    if space in _MODES:
        return _of_bytes(_MODES[space], eight)
    if alpha is None:
        return Image.fromarray(np.ascontiguousarray(eight[..., 0] if eight.shape[-1] == 1 else eight))
    kind, values = alpha
    if kind == _PREMULTIPLIED:
        shares = np.maximum(values, 1)[..., None].astype(np.uint16)
        full = (eight.astype(np.uint16) * 255 + shares // 2) // shares
        eight = np.minimum(full, 255).astype(np.uint8)
    joined = np.concatenate([eight, values[..., None]], -1)
    return _of_bytes("LA" if joined.shape[-1] == 2 else "RGBA", joined)


def _check_numbers(space: int, samples: NDArray[Any]) -> None:
    """Refuse the kinds of numbers for which a space of light and colour has no nominal range."""
    kind, bits = samples.dtype.kind, 8 * samples.dtype.itemsize
    whole = "u" if space in (_ICC_LAB, _YCC) else "ui"
    if (kind in whole and bits <= 16) or (kind == "f" and space == _LAB):
        return
    name = {_LAB: "CIE Lab", _ICC_LAB: "ICC Lab", _YCC: "YCbCr"}[space]
    words = {"f": "float", "i": "signed"}.get(kind, "unsigned")
    detail = f"TIFF pictures with {name} colours of {bits}-bit {words} samples are not supported."
    raise ImageRejected("unsupported", detail)


def _lab(values: NDArray[Any], space: int) -> NDArray[np.uint8]:
    """[H, W, 3] of the file's Lab as Pillow has it: L from 0 to 255, a and b as signed bytes.

    Real numbers are L from 0 to 100, and a and b themselves. Of whole numbers L is unsigned and fills its
    bits (ICC Lab: to FF00), a and b are signed (ICC Lab: with half the range added), 1 being the eighth bit.
    """
    import numpy as np

    if values.dtype.kind == "f":
        real = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
        light, colour = real[..., :1] * 2.55, real[..., 1:]
    else:
        bits = 8 * values.dtype.itemsize
        words = values.view(f"u{bits // 8}")
        white = _ICC_L_WHITE if space == _ICC_LAB and bits == 16 else (1 << bits) - 1
        light = words[..., :1].astype(np.float64) * 255 / white
        half = 1 << (bits - 1) if space == _ICC_LAB else 0
        signed = (words[..., 1:] - np.array(half, words.dtype)).view(f"i{bits // 8}")
        colour = signed.astype(np.float64) / (1 << (bits - 8))
    return np.concatenate(
        [
            np.rint(np.clip(light, 0, 255)).astype(np.uint8),
            np.rint(np.clip(colour, -128, 127)).astype(np.int8).view(np.uint8),
        ],
        -1,
    )


def _of_bytes(mode: str, values: NDArray[np.uint8]) -> Image.Image:
    return Image.frombytes(mode, (values.shape[1], values.shape[0]), values.tobytes())


def _from_palette(directory: Directory, indices: NDArray[Any]) -> Image.Image:
    import numpy as np

    values = np.array(directory.numbers(tags.COLOUR_MAP), np.uint32)
    size = 1 << min(directory.number(tags.BITS, 1), 16)
    if len(values) < 3 * size or indices.dtype.kind != "u":
        raise ImageRejected("unreadable", "The TIFF file has no palette that fits its samples.")
    colours = values[: 3 * size].reshape(3, size).T
    if values.max() >= 256:  # some writers store bytes where 16 bits belong
        colours = np.right_shift(colours, 8)
    return Image.fromarray(colours.astype(np.uint8)[indices])
