"""What comes out of ``imaging.decode``, against pixel values computed by hand."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from sightline.errors import ImageRejected, InputError
from sightline.imaging import Decoded, Limits, decode, rgb_of
from tests.imaging import odd_files
from tests.imaging.odd_files import BLUE, GREEN, GREY, RED, encoded, make_odd_files, quarters

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
"""Pillow warns of broken metadata and of bombs."""

CORNERS = (RED, GREEN, BLUE, GREY)
"""Upright: top left, top right, bottom left, bottom right."""


def corners(decoded: Decoded) -> np.ndarray:
    """[4, 3]: the middle of each quarter, in the order of ``CORNERS``."""
    height, width = decoded.rgb.shape[:2]
    rows, columns = (height // 4, -(height // 4)), (width // 4, -(width // 4))
    return np.array([decoded.rgb[row, column] for row in rows for column in columns], int)


def assert_near(found: object, expected: object, tolerance: int) -> None:
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).max() <= tolerance


def outcome_of(data: bytes) -> Decoded | ImageRejected:
    try:
        return decode(data, Limits())
    except ImageRejected as rejected:
        return rejected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd")
    make_odd_files(path)
    return path


@pytest.mark.parametrize("name", list(odd_files.MAKERS))
def test_every_odd_file_is_decoded_or_rejected_with_its_reason(name: str, folder: Path) -> None:
    expected, _ = odd_files.MAKERS[name]
    outcome = outcome_of((folder / name).read_bytes())
    if isinstance(outcome, ImageRejected):
        assert outcome.reason == expected
        assert outcome.detail.endswith(".")
        assert " object at 0x" not in outcome.detail
    else:
        assert expected == "ok"
        assert outcome.rgb.shape == (outcome.height, outcome.width, 3)
        assert outcome.rgb.dtype == np.uint8


def test_the_bomb_is_what_it_claims_to_be() -> None:
    bomb = odd_files.png_bomb()
    assert len(bomb) < 45_000
    assert struct.unpack(">II", bomb[16:24]) == (18_000, 18_000)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    """What is stored is read through the definition of the tag: where the first row and column belong."""
    rows_first = {1: "rc", 2: "rC", 3: "RC", 4: "Rc", 5: "cr", 6: "cR", 7: "CR", 8: "Cr"}[orientation]
    upright = np.asarray(quarters())
    # Store the upright picture so that a reader who follows the tag sees it upright again (orientations 6 and
    # 8 undo one another; all others undo themselves).
    stored = upright.transpose(1, 0, 2) if rows_first[0] in "cC" else upright
    flip_rows, flip_columns = {
        1: (False, False), 2: (False, True), 3: (True, True), 4: (True, False),
        5: (False, False), 6: (True, False), 7: (True, True), 8: (False, True),
    }[orientation]  # fmt: skip
    stored = stored[::-1] if flip_rows else stored
    stored = stored[:, ::-1] if flip_columns else stored
    exif = Image.Exif()
    exif[odd_files.ORIENTATION] = orientation
    decoded = decode(encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif))
    assert (decoded.width, decoded.height) == (48, 32)
    assert np.array_equal(decoded.rgb, upright)


def test_orientation_6_of_a_camera_turns_the_left_edge_up() -> None:
    """6: "the 0th row is the visual right-hand side, the 0th column the visual top" (EXIF 2.3)."""
    decoded = decode(odd_files.turned(6))
    assert (decoded.width, decoded.height) == (32, 48)
    assert_near(corners(decoded), (BLUE, RED, GREY, GREEN), 6)


def test_cmyk_in_adobe_polarity() -> None:
    """Adobe inverts inks in JPEG, and in JPEG only."""
    inks = quarters().convert("CMYK")
    expected = corners(decode(encoded(inks, "TIFF")))
    assert_near(corners(decode(encoded(inks, "JPEG", quality=95))), expected, 6)
    assert (expected.argmax(-1)[:3] == (0, 1, 2)).all()  # red, green, blue


def test_ycck_in_adobe_polarity(folder: Path) -> None:
    """The inks by hand (see ``ycck``): what the light does not pass, of 255."""
    inks = Image.new("CMYK", (16, 16), (105, 105, 105, 51))
    assert_near(decode((folder / "ycck.jpg").read_bytes()).rgb, decode(encoded(inks, "TIFF")).rgb, 3)


def test_sixteen_bit_grey_is_scaled_and_rounded() -> None:
    values = [0, 128, 129, 257, 1000, 32768, 65406, 65407, 65535]
    expected = [0, 0, 1, 1, 4, 128, 254, 255, 255]  # value / 257, to the nearest
    decoded = decode(odd_files.grey16(values))
    assert decoded.rgb[0, :, 0].tolist() == expected
    assert (decoded.rgb == decoded.rgb[..., :1]).all()


def test_sixteen_bit_grey_key_becomes_white(folder: Path) -> None:
    assert decode((folder / "grey16_key.png").read_bytes()).rgb[0].tolist() == [[255] * 3, [233] * 3]


def test_sixteen_bit_tiff_of_either_byte_order_and_polarity() -> None:
    values = np.array([[0, 32896, 65535]], np.uint16)
    for order, photometric, expected in (
        ("<", 1, [0, 128, 255]),
        (">", 1, [0, 128, 255]),
        ("<", 0, [255, 127, 0]),
    ):
        data = plain_tiff(values.astype(f"{order}u2").tobytes(), order, 3, 16, photometric)
        assert decode(data).rgb[0, :, 0].tolist() == expected


def test_twelve_bit_tiff_reaches_white() -> None:
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xFF, 0xFF])  # 0, 2048, 4095, 4095
    assert decode(plain_tiff(packed, "<", 4, 12, 1)).rgb[0, :, 0].tolist() == [0, 128, 255, 255]


def plain_tiff(pixels: bytes, order: str, width: int, bits: int, photometric: int) -> bytes:
    """One uncompressed row of grey."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: len(pixels)}
    pixels += b"\0" * (len(pixels) % 2)
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(pixels))
    return magic + pixels + struct.pack(order + "H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([-1.0, 0.0, 3.0], [0, 64, 255]),
        ([float("nan"), 1.0, float("inf")], [0, 255, 0]),
        ([float("nan")] * 3, [0, 0, 0]),
    ],
)
def test_float_grey_keeps_its_range(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert decode(encoded(image, "TIFF")).rgb[0, :, 0].tolist() == expected


@pytest.mark.parametrize("name", ["grey_alpha.png", "alpha.png", "palette_alpha.png", "palette_alpha.gif"])
def test_transparent_shows_white_and_opaque_stays(name: str, folder: Path) -> None:
    decoded = decode((folder / name).read_bytes())
    assert (decoded.rgb[:, :10] == 255).all()
    assert (decoded.rgb[:, 10:] == 0).all()


def test_half_transparent_is_half_white() -> None:
    image = Image.new("RGBA", (2, 2), (200, 0, 50, 51))  # alpha is a fifth
    assert_near(decode(encoded(image, "PNG")).rgb[0, 0], (244, 204, 214), 1)


def test_colour_key_of_a_true_colour_png_becomes_white() -> None:
    key = odd_files.chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    data = odd_files.png(2, 1, 8, 2, bytes([0, 1, 2, 3, 4, 5, 6]), key)
    assert decode(data).rgb[0].tolist() == [[255, 255, 255], [4, 5, 6]]


@pytest.mark.parametrize("name", ["animated.gif", "animated.webp", "animated.png", "pages.tif"])
def test_of_an_animation_the_first_frame_counts(name: str, folder: Path) -> None:
    assert_near(decode((folder / name).read_bytes()).rgb, RED, 6)


def test_a_profile_is_followed(folder: Path) -> None:
    decoded = decode((folder / "swapped_profile.png").read_bytes())
    assert_near(corners(decoded), [colour[::-1] for colour in CORNERS], 2)


@pytest.mark.parametrize("name", ["unfit_profile.png", "broken_profile.jpg", "broken_exif.jpg"])
def test_what_surrounds_the_pixels_may_be_broken(name: str, folder: Path) -> None:
    assert_near(corners(decode((folder / name).read_bytes())), CORNERS, 12)


def test_lab_white_is_white(folder: Path) -> None:
    assert_near(decode((folder / "lab.tif").read_bytes()).rgb, 255, 1)


def test_bilevel_is_black_and_white(folder: Path) -> None:
    assert set(np.unique(decode((folder / "bits.png").read_bytes()).rgb)) <= {0, 255}


def test_lossless_pictures_come_back_bit_by_bit() -> None:
    noise = odd_files.noise()
    for name, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("PPM", {})):
        decoded = decode(encoded(noise, name, **options))
        assert np.array_equal(decoded.rgb, np.asarray(noise))
        assert decoded.format == name


def test_thumbnail_is_webp_with_its_longest_side_at_the_limit() -> None:
    decoded = decode(encoded(quarters(1200, 800), "PNG"), Limits(thumbnail_side=384))
    with Image.open(BytesIO(decoded.thumbnail)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (384, 256))
        small = np.asarray(thumbnail.convert("RGB"), int)
    assert_near(small[[64, 64, -64, -64], [96, -96, 96, -96]], CORNERS, 8)


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 10), (20, 10)), ((5000, 1), (384, 1)), ((100, 3000), (13, 384))]
)
def test_thumbnails_never_grow_nor_vanish(size: tuple[int, int], expected: tuple[int, int]) -> None:
    decoded = decode(encoded(Image.new("RGB", size, RED), "PNG"))
    with Image.open(BytesIO(decoded.thumbnail)) as thumbnail:
        assert thumbnail.size == expected


@pytest.mark.parametrize(
    "name", ["turned_6.jpg", "ycck.jpg", "palette_alpha.png", "grey16.png", "swapped_profile.png"]
)
def test_an_image_opened_by_the_caller_gives_the_same_pixels(name: str, folder: Path) -> None:
    with Image.open(folder / name) as image:
        assert np.array_equal(rgb_of(image), decode((folder / name).read_bytes()).rgb)


def test_an_image_that_the_caller_made_is_left_as_it_was() -> None:
    image = Image.new("RGBA", (3, 2), (9, 8, 7, 0))
    assert (rgb_of(image) == 255).all()
    assert image.getpixel((0, 0)) == (9, 8, 7, 0)
    with pytest.raises(ImageRejected, match="too_many_pixels"):
        rgb_of(image, Limits(max_pixels=5))
    with (
        Image.open(BytesIO(odd_files.broken_idat())) as broken,
        pytest.raises(ImageRejected, match="unreadable"),
    ):
        rgb_of(broken)


def test_limits_are_inclusive() -> None:
    data = encoded(quarters(48, 32), "PNG")
    decode(data, Limits(max_pixels=48 * 32, max_bytes=len(data)))
    with pytest.raises(ImageRejected, match="too_many_pixels"):
        decode(data, Limits(max_pixels=48 * 32 - 1))
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        decode(data, Limits(max_bytes=len(data) - 1))


def test_limits_must_be_positive() -> None:
    with pytest.raises(InputError, match="max_pixels"):
        Limits(max_pixels=0)
    with pytest.raises(InputError, match="seconds"):
        Limits(seconds=float("nan"))


def test_truncated_pictures_are_never_filled_up() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_every_prefix_of_a_picture_is_decoded_or_rejected() -> None:
    """No byte count makes Pillow raise something that gets through."""
    for data in (encoded(quarters(12, 8), name) for name in ("PNG", "JPEG", "GIF", "TIFF", "WEBP")):
        for length in range(0, len(data), 7):
            outcome = outcome_of(data[:length])
            if isinstance(outcome, ImageRejected):
                assert outcome.reason in {"empty", "not_an_image", "truncated", "unreadable", "unsupported"}


def test_flipped_bytes_are_decoded_or_rejected() -> None:
    rng = np.random.default_rng(11)
    for name in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        whole = encoded(quarters(12, 8), name)
        for _ in range(60):
            data = bytearray(whole)
            for at in rng.integers(0, len(data), 4):
                data[at] = rng.integers(0, 256)
            outcome = outcome_of(bytes(data))
            assert isinstance(outcome, ImageRejected) or outcome.rgb.ndim == 3
