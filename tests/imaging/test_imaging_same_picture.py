"""Copies are told from burst neighbours, on drawn pictures."""

from __future__ import annotations

from io import BytesIO
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.dups_pictures import COPIES, NEIGHBOURS, copy_of, neighbour_of
from sightline.imaging.picture_hash import BYTES, VIEWS, picture_hash
from sightline.imaging.same_picture import is_same, likeness, sketch

RADIUS = 22


def drawing(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Shapes of many sizes before a mottled ground."""
    random, noise = Random(seed), np.random.default_rng(seed)
    ground = noise.integers(60, 200, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, far = random.randint(0, size[0]), random.randint(0, size[1]), random.randint(4, 40)
        colour = (random.randint(0, 255), random.randint(0, 255), random.randint(0, 255))
        shape = random.choice((pen.ellipse, pen.rectangle))
        shape((x - far, y - far // 2, x + far, y + far // 2), fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def test_copies_are_the_same_picture() -> None:
    random, missed = Random(1), []
    for seed in range(5):
        picture = drawing(seed)
        for how in COPIES:
            copy = opened(copy_of(picture, how, random))
            there, back = is_same(sketch(picture), sketch(copy)), is_same(sketch(copy), sketch(picture))
            if not (there and back):
                missed.append((seed, how))
    assert len(missed) <= 1, missed  # of 25: shapes with hard edges on 60 x 45 pixels are a limit


@pytest.mark.parametrize("how", NEIGHBOURS)
def test_burst_neighbours_are_not(how: str) -> None:
    random = Random(how)
    for seed in range(4):
        picture = drawing(seed)
        near = opened(neighbour_of(picture, how, random, drawing(seed + 50)))
        assert not is_same(sketch(picture), sketch(near)), seed


def test_a_crop_lies_where_it_was_cut_out() -> None:
    picture = drawing(3, (400, 300))
    found = likeness(sketch(picture), sketch(picture.crop((20, 6, 390, 291))))
    assert found is not None
    assert found.cover == pytest.approx(370 / 400, abs=0.004)  # the smaller one: 285 of 300 is 0.95
    assert found.outside < 0.01
    assert found.turn < 0.004


def test_a_pan_of_the_same_pixels_is_not_the_same_picture() -> None:
    whole = drawing(4, (400, 300))
    left, right = whole.crop((0, 0, 372, 300)), whole.crop((28, 0, 400, 300))
    assert not is_same(sketch(left), sketch(right))  # neither lies inside of the other
    assert is_same(sketch(whole), sketch(left))
    assert is_same(sketch(whole), sketch(right))


def test_another_colour_of_one_thing_is_another_picture_and_grey_is_not() -> None:
    picture = drawing(5)
    other = picture.copy()
    hue = np.asarray(picture.convert("YCbCr")).copy()
    hue[60:120, 80:160, 1:] = 255 - hue[60:120, 80:160, 1:]
    hue[60:120, 80:160, 1] = 220
    other = Image.fromarray(hue, "YCbCr").convert("RGB")
    assert not is_same(sketch(picture), sketch(other))
    assert is_same(sketch(picture), sketch(picture.convert("L").convert("RGB")))


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (9, 7), (300, 2)])
def test_small_and_narrow_pictures_are_compared_without_a_crash(size: tuple[int, int]) -> None:
    plain = Image.new("RGB", size, "red")
    assert len(picture_hash(plain.convert("L"))) == VIEWS * BYTES
    assert not is_same(sketch(plain), sketch(drawing(1)))
    assert not is_same(sketch(plain), sketch(plain)) or min(size) > 1  # nothing to see in a plain one


def test_some_view_of_the_one_is_near_the_whole_of_its_crop_and_of_nothing_else() -> None:
    random = Random(1)
    hashes = {}
    for seed in range(12):
        picture = drawing(seed)
        hashes[seed, 0] = bits(picture)
        hashes[seed, 1] = bits(opened(copy_of(picture, "cropped", random)))
    for one in range(12):
        for other in range(12):
            first, second = hashes[one, 0], hashes[other, 1]
            apart = min((first != second[0]).sum(axis=1).min(), (second != first[0]).sum(axis=1).min())
            assert (apart <= RADIUS) == (one == other)


def bits(picture: Image.Image) -> np.ndarray:
    """``[V,128]``."""
    packed = np.frombuffer(picture_hash(picture.convert("L")), np.uint8).reshape(VIEWS, BYTES)
    return np.unpackbits(packed, axis=1)
