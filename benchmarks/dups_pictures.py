"""Copies of a picture, and burst neighbours of it: what looks the same, and what only looks alike.

A *copy* shows the same pixels: encoded again, resized, cropped by up to 8 % of width and height, in other
colours, or several of these. A *burst neighbour* is another exposure of the same moment, as a camera takes
a few a second: it is moved by 3 to 10 %, turned by 2 to 6°, zoomed by 1.1 to 1.3, something passes in front
of it, or nothing of that. In each neighbour every region has moved a little by itself (parallax, leaves,
people: a smooth field of displacements with a peak of 0.7 to 2 % of the width), noise and exposure are new,
and what comes in at the borders is other content. Without these a neighbour would be a crop, and no
procedure could tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

RESAMPLING = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
COPIES = ("encoded", "resized", "cropped", "recoloured", "mixed")
NEIGHBOURS = ("moved", "turned", "zoomed", "passed", "still")


def copy_of(picture: Image.Image, how: str, random: Random) -> bytes:
    """One copy of an RGB picture, as a file."""
    steps: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
        "resized": resized,
        "cropped": cropped,
        "recoloured": recoloured,
    }
    chosen = [] if how == "encoded" else [how]
    if how == "mixed":
        chosen = random.sample(sorted(steps), random.choice((2, 3)))
    for name in chosen:
        picture = steps[name](picture, random)
    return encoded(picture, random)


def encoded(picture: Image.Image, random: Random) -> bytes:
    """As JPEG or WebP of quality 30 to 95, or as PNG."""
    file, form = BytesIO(), random.choice(("JPEG", "JPEG", "WEBP", "PNG"))
    picture.save(file, form, **({} if form == "PNG" else {"quality": random.randint(30, 95)}))
    return file.getvalue()


def resized(picture: Image.Image, random: Random) -> Image.Image:
    """By a factor of 0.25 to 2."""
    factor = 2 ** random.uniform(-2, 1)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, random.choice(RESAMPLING))


def cropped(picture: Image.Image, random: Random) -> Image.Image:
    """2 to 8 % of the width and of the height are cut away, at either end."""
    width, height = (round(length * random.uniform(0.02, 0.08)) for length in picture.size)
    left, top = random.randint(0, width), random.randint(0, height)
    return picture.crop((left, top, picture.width - width + left, picture.height - height + top))


def recoloured(picture: Image.Image, random: Random) -> Image.Image:
    """Other brightness, contrast or saturation, or grey."""
    how = random.choice(("brightness", "contrast", "saturation", "grey", "all"))
    if how == "grey":
        return picture.convert("L").convert("RGB")
    if how in ("brightness", "all"):
        picture = ImageEnhance.Brightness(picture).enhance(random.uniform(0.7, 1.35))
    if how in ("contrast", "all"):
        picture = ImageEnhance.Contrast(picture).enhance(random.uniform(0.7, 1.4))
    if how in ("saturation", "all"):
        picture = ImageEnhance.Color(picture).enhance(random.uniform(0.2, 1.8))
    return picture


def neighbour_of(picture: Image.Image, how: str, random: Random, other: Image.Image) -> bytes:
    """A burst neighbour, as a JPEG file; ``other`` gives what passes by."""
    noise = np.random.default_rng(random.getrandbits(32))
    rgb = np.asarray(picture.convert("RGB"), np.float32)
    moved = warped(rgb, *_camera(how, random), _field(rgb.shape[:2], random, noise))
    if how == "passed":
        moved = pasted(moved, other, random)
    moved = moved * random.uniform(0.92, 1.08) + noise.normal(0, random.uniform(1.5, 5), rgb.shape)
    file = BytesIO()
    Image.fromarray(moved.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=random.randint(75, 95))
    return file.getvalue()


def _camera(how: str, random: Random) -> tuple[float, float, float, float]:
    """Degrees, zoom, and the movement as parts of width and height."""
    degrees, zoom, right, down = 0.0, 1.0, 0.0, 0.0
    if how == "moved":
        angle, far = random.uniform(0, 2 * np.pi), random.uniform(0.03, 0.10)
        right, down = far * np.cos(angle), far * np.sin(angle)
    elif how == "turned":
        degrees = random.choice((-1, 1)) * random.uniform(2, 6)
    elif how == "zoomed":
        zoom = random.uniform(1.1, 1.3)
    return degrees, zoom, right, down


def _field(shape: tuple[int, int], random: Random, noise: np.random.Generator) -> NDArray[np.float32]:
    """Displacements in pixels ``[2,H,W]``: smooth, with a peak of 0.7 to 2 % of the width."""
    coarse = noise.normal(0, 1, (2, 5, 5)).astype(np.float32)
    size = (shape[1], shape[0])
    smooth = np.stack(
        [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in coarse]
    )
    peak = random.uniform(0.007, 0.02) * shape[1]
    return smooth * (peak / np.sqrt((smooth**2).sum(axis=0)).max())


def warped(
    rgb: NDArray[np.float32],
    degrees: float,
    zoom: float,
    right: float,
    down: float,
    field: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What the camera sees elsewhere ``[H,W,3]``; beyond the borders the scene goes on as in a mirror."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cosine, sine = np.cos(np.radians(degrees)) / zoom, np.sin(np.radians(degrees)) / zoom
    across, along = x - width / 2, y - height / 2
    from_x = width / 2 + cosine * across - sine * along + right * width + field[0]
    from_y = height / 2 + sine * across + cosine * along + down * height + field[1]
    return _bilinear(rgb, _mirrored(from_x, width), _mirrored(from_y, height))


def _mirrored(place: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    period = 2 * (length - 1)
    folded = np.mod(place, period)
    return np.minimum(folded, period - folded)


def _bilinear(
    rgb: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, rgb.shape[1] - 1), np.minimum(top + 1, rgb.shape[0] - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    upper = rgb[top, left] * (1 - across) + rgb[top, right] * across
    lower = rgb[bottom, left] * (1 - across) + rgb[bottom, right] * across
    return upper * (1 - down) + lower * down


def pasted(rgb: NDArray[np.float32], other: Image.Image, random: Random) -> NDArray[np.float32]:
    """With something of another picture in front: an ellipse of 15 to 30 % of width and height."""
    height, width = rgb.shape[:2]
    wide, high = (max(2, round(length * random.uniform(0.15, 0.3))) for length in (width, height))
    left, top = random.randint(0, width - wide), random.randint(0, height - high)
    y, x = np.mgrid[:high, :wide]
    far = ((x - wide / 2) / (wide / 2)) ** 2 + ((y - high / 2) / (high / 2)) ** 2
    mask = np.clip((1 - far) * 4, 0, 1)[..., None].astype(np.float32)
    scene = np.asarray(other.convert("RGB").resize((width, height)), np.float32)
    thing = scene[(height - high) // 2 :, (width - wide) // 2 :][:high, :wide]
    out = rgb.copy()
    out[top : top + high, left : left + wide] *= 1 - mask
    out[top : top + high, left : left + wide] += mask * thing
    return out
