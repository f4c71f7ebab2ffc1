"""Any Pillow mode to upright 8-bit sRGB without alpha.

Transparency is composited on white, deep grey is scaled (not clipped), inks and other spaces are converted
through the picture's ICC profile when it is a usable one; when not, inks through a standard profile, and the
others by Pillow's plain formulas.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from sightline.imaging.depth import SIXTEEN_BITS, stretched, table
from sightline.imaging.profiles import is_linear

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

_WHITE: Final = (255, 255, 255)
_DEEP_UNSIGNED: Final = ("I;16", "I;16B", "I;16L", "I;16N")
_PHOTOMETRIC, _BITS_PER_SAMPLE, _ORIENTATION = 262, 258, 0x0112
_PROFILE_SPACE: Final = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
_TURN: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what makes the picture upright."""


def to_upright_rgb(opened: Image.Image) -> Image.Image:
    """Load a picture (the first frame) and make it upright RGB. Raises whatever Pillow raises."""
    opened.load()
    profile = opened.info.get("icc_profile")
    plain = _without_depth_and_palette(opened)
    rgb = _on_white(plain, profile if isinstance(profile, bytes) else b"")
    return turned_upright(rgb, opened)


def turned_upright(rgb: Image.Image, opened: Image.Image) -> Image.Image:
    """``rgb``, turned or mirrored as the metadata of ``opened`` say."""
    return turned(rgb, _orientation(opened))


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """A picture turned or mirrored as EXIF means it; what EXIF does not know leaves it as it is."""
    turn = _TURN.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def lies_on_its_side(opened: Image.Image) -> bool:
    """Whether width and height change places when the picture is made upright."""
    return _orientation(opened) in (5, 6, 7, 8)


def _orientation(image: Image.Image) -> Any:
    """The EXIF (or XMP) orientation; metadata that cannot be read is no reason to refuse a picture."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1


def _without_depth_and_palette(image: Image.Image) -> Image.Image:
    """One of L, LA, RGB, RGBA, CMYK, LAB, or another 8-bit mode that Pillow turns into RGB."""
    if image.mode in _DEEP_UNSIGNED or image.mode in ("I", "F"):
        return _shallow(image)
    if image.mode == "1" and not image.has_transparency_data:
        return image.convert("L")
    if image.mode in ("LA", "RGBA"):
        return image
    if image.has_transparency_data:
        return image.convert("LA" if image.mode == "La" else "RGBA")
    return image.convert("RGB") if image.mode == "P" else image


def _on_white(image: Image.Image, profile: bytes) -> Image.Image:
    """RGB; where the picture is transparent, white shows."""
    if image.mode not in ("LA", "RGBA"):
        return _to_srgb(image, profile)
    alpha = image.getchannel("A")
    opaque = _to_srgb(image.convert(image.mode[:-1]), profile)
    white = Image.new("RGB", image.size, _WHITE)
    white.paste(opaque, mask=alpha)
    return white


# --- deep grey ----------------------------------------------------------------------------------------------


def _shallow(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey as L, or as LA when one value stands for transparency."""
    import numpy as np

    values = np.asarray(image)
    if image.mode in _DEEP_UNSIGNED:
        grey = table(_white_level(image))[values]
        if _tiff_tag(image, _PHOTOMETRIC) == 0:  # white is zero; Pillow inverts 8 bits only
            grey = 255 - grey
    elif image.mode == "I" and image.format in ("PNG", "PPM"):
        grey = table(SIXTEEN_BITS)[np.clip(values, 0, SIXTEEN_BITS)]
    else:
        grey = stretched(values)
    shallow = Image.fromarray(grey)
    key = image.info.get("transparency")
    if isinstance(key, int):
        alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
        return Image.merge("LA", (shallow, alpha))
    return shallow


def _white_level(image: Image.Image) -> int:
    """The largest sample value: 65535, or 4095 for the 12-bit pictures that TIFF knows."""
    bits = _tiff_tag(image, _BITS_PER_SAMPLE)
    return (1 << bits) - 1 if isinstance(bits, int) and 8 < bits <= 16 else SIXTEEN_BITS


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    """The first value of a TIFF tag; None for other formats."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) and value else value


# --- colour profiles ----------------------------------------------------------------------------------------


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An opaque picture as RGB, through its profile when that can be used."""
    transform = _transform(profile, image.mode) if profile or image.mode == "LAB" else None
    if transform is None and image.mode == "CMYK":
        transform = _transform(_standard_inks(), "CMYK")
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    from PIL import ImageCms

    converted = ImageCms.applyTransform(image, transform)
    if converted is None:  # only with inPlace=True
        raise ValueError("the colour profile gave no picture")
    return converted


@lru_cache(maxsize=1)
def _standard_inks() -> bytes:
    """A profile for inks that come without one: "Chemical proof" by Graeme W. Gill, in the public domain."""
    return Path(__file__).with_name("inks.icc").read_bytes()


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """From ``profile`` (LAB without one: CIE Lab) to sRGB; None when it is that already, unfit or broken."""
    if mode not in _PROFILE_SPACE:
        return None
    from PIL import ImageCms

    try:
        if profile:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            named = mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower()
            fits = source.profile.xcolor_space.strip() == _PROFILE_SPACE[mode]
            if not fits or (named and not is_linear(profile)):
                return None
        else:
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        # Inks as they look on paper; the other intent deepens their black, which no other reader does.
        paper = ImageCms.Intent.RELATIVE_COLORIMETRIC if mode == "CMYK" else ImageCms.Intent.PERCEPTUAL
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", paper)
    except Exception:  # Pillow and littlecms raise many types for a broken profile; the pixels are still good
        return None
