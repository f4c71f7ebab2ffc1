"""What a checkpoint's image processor does to a picture: honoured where it is named here, refused elsewhere.

Two formats: the processor's values at the top of ``preprocessor_config.json``, or, in new files, under
``image_processor`` in ``processor_config.json``.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from PIL import Image

from sightline.blip.checkpoint_files import read_json
from sightline.blip.headers import shown
from sightline.blip.pixels import CLIP_MEAN, CLIP_STD, PixelConfig
from sightline.errors import CheckpointError

_FILES = ("preprocessor_config.json", "processor_config.json")
_NO = ("do_center_crop", "do_pad", "do_crop")
"""Steps that no model of the family takes and that would change every pixel."""
_FILTERS = 6
"""Pillow's, from NEAREST to HAMMING; later ones are no released model's."""
_NONE = (0.0, 0.0, 0.0)
_ONE = (1.0, 1.0, 1.0)


def read_pixel_config(folder: Path, image_size: int) -> PixelConfig:
    """Size, scale, mean, standard deviation and filter from a checkpoint's processor file.

    Without such a file, or where it says nothing of a value, those of ``BlipImageProcessor`` hold.

    Raises:
        CheckpointError: the file cannot be read, makes other pixels than the encoder takes (``image_size`` px
            along both sides), or names a step that is not done here.
    """
    found = _processor(folder)
    if found is None:
        return PixelConfig(image_size)
    path, raw = found
    _check_steps(path, raw)
    _check_size(path, raw.get("size"), image_size)
    normalised = _flag(path, raw, "do_normalize")
    return PixelConfig(
        image_size,
        _channels(path, raw, "image_mean", CLIP_MEAN) if normalised else _NONE,
        _channels(path, raw, "image_std", CLIP_STD) if normalised else _ONE,
        _rescale(path, raw),
        _resample(path, raw),
    )


def _processor(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The file and the values of the image processor in it."""
    for path in (folder / name for name in _FILES):
        if not path.exists():
            continue
        whole = read_json(path)
        raw = whole.get("image_processor", whole)
        if not isinstance(raw, dict):
            raise _refused(path, "image_processor", raw, "the values of an image processor belong")
        if "image_mean" in raw or "size" in raw or "do_resize" in raw:
            return path, raw
    return None


def _check_steps(path: Path, raw: dict[str, Any]) -> None:
    for name in _NO:
        if raw.get(name):
            raise _refused(path, name, raw[name], "Sightline only squeezes the whole picture")
    if not _flag(path, raw, "do_resize"):
        raise _refused(path, "do_resize", False, "pictures of any size have to be resized")


def _check_size(path: Path, size: object, image_size: int) -> None:
    if size is None:
        return
    sides = (size, size) if type(size) is int else _sides(path, size)
    if sides[0] != sides[1]:
        raise _refused(path, "size", size, f"the image encoder takes a square of {image_size} px")
    if sides[0] != image_size:
        raise CheckpointError(
            f"{path.parent}: the processor makes {sides[0]} px, the image encoder takes {image_size} px; "
            f"take {path.name} and config.json of the same checkpoint."
        )


def _sides(path: Path, size: object) -> tuple[int, int]:
    if isinstance(size, dict):
        height, width = size.get("height"), size.get("width")
        if type(height) is int and type(width) is int:
            return height, width
    raise _refused(path, "size", size, "height and width belong")


def _flag(path: Path, raw: dict[str, Any], name: str) -> bool:
    found = raw.get(name)
    if found is None:
        return True
    if type(found) is not bool:
        raise _refused(path, name, found, "true or false belongs")
    return found


def _rescale(path: Path, raw: dict[str, Any]) -> float:
    if not _flag(path, raw, "do_rescale"):
        return 1.0
    found = raw.get("rescale_factor")
    if found is None:
        return 1 / 255
    if not _is_number(found) or not 1e-6 <= found <= 1e6:
        raise _refused(path, "rescale_factor", found, "a number from 1e-6 to 1e6 belongs")
    return float(found)


def _channels(
    path: Path, raw: dict[str, Any], name: str, default: tuple[float, float, float]
) -> tuple[float, float, float]:
    found = raw.get(name)
    if found is None:
        return default
    if _is_number(found):
        found = [found] * 3
    least = 1e-6 if name == "image_std" else -1e6
    if not isinstance(found, list) or len(found) != 3 or not all(map(_is_number, found)):
        raise _refused(path, name, found, "three numbers belong")
    if not all(least <= one <= 1e6 for one in found):
        raise _refused(path, name, found, "three numbers of reasonable size belong")
    return float(found[0]), float(found[1]), float(found[2])


def _is_number(found: object) -> bool:
    return type(found) is int or (type(found) is float and isfinite(found))


def _resample(path: Path, raw: dict[str, Any]) -> int:
    found = raw.get("resample")
    if found is None:
        return int(Image.Resampling.BICUBIC)
    if type(found) is not int or found not in range(_FILTERS):
        raise _refused(path, "resample", found, "the number of one of Pillow's filters, 0 to 5, belongs")
    return found


def _refused(path: Path, name: str, value: object, why: str) -> CheckpointError:
    return CheckpointError(f"{path} has {shown(value)} as {name}, where {why}.")
