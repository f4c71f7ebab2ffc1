"""Every hostile and odd picture in one decode process: its right pixels, or the code of its rejection."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
import pyvips

from sightline.errors import ImageRejected
from sightline.imaging import Decoded, IsolatedDecoder
from tests.imaging.by_vips import rgb_by_vips
from tests.imaging.hostile import Case, cases, tiff_numbers

REASONS = {"empty", "not_an_image", "unsupported", "truncated", "unreadable", "too_many_pixels"}
REASONS |= {"video", "pdf", "svg"}
APART = 12
"""Of 255: what two decoders may differ by."""
EXPLAINED = {
    r"png-.*-linear-gama": "libvips leaves gAMA out; the PNG specification has readers apply it",
    r"gif-(?!9x7-|frame-beyond|of-bits|1x6).*": "libvips paints black where no frame is",
    r"webp-frame-40x30-.*": "the same, and libvips paints what the file calls its background",
    r"tiff-predictor\d-(u?int32|int8|int16|float\d+)-.*|tiff-raw-predictor\d-float32": "the same; see below",
    r"tiff-lab-.*": "libvips has D65 for the white of Lab, and clips",
    r"tiff-(icclab|ycc16)-.*": "libvips reads this space as RGB",
    r"tiff-rgb8-extra0-.*": "libvips takes an unspecified channel for alpha; TIFF 6.0 says it is none",
    r"(tiff-(grey32|float|signed|rgb32|rgb-float32).*)": "libvips gives such numbers no range",
    r"(big)?tiff-.*(thumbnail|mask)-first": "libvips takes the first directory, here a thumbnail or a mask",
    r"tiff-picture-inside-of-thumbnail": "the same",
    r"tiff-jpeg2000-.*|tiff-webp|tiff-.*-(zstd|lzma)(-.*)?": "its libtiff cannot unpack it, and it goes on",
    r"tiff-(lab16-white|palette-of-bytes|ycc-.*)": "libvips reads this layout in another way",
    r"avif-(p3|rec2020)-numbers.*": "libvips leaves colours out that are told by numbers (nclx)",
    r"raw-dng-.*": "libvips takes the directory in front, and raws for TIFFs",
    r"turn\d-.*-xmp|turn\d-png-exif-behind": "libvips reads EXIF only, and only in front of the pixels",
    r"lie-tiff-lengths": "libtiff gives up on lengths beyond the file that are not needed",
}
"""Names of cases (patterns) in which libvips gives other pixels → why it is not us who are wrong."""


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder() as shared:
        yield shared


@pytest.fixture(scope="module")
def process(decoder: IsolatedDecoder) -> int:
    """The decode process that the first picture starts."""
    _outcome(decoder, cases()[0].data)
    return decoder.pids()[0]


def _outcome(decoder: IsolatedDecoder, data: bytes) -> Decoded | ImageRejected:
    try:
        return decoder.decode(data)
    except ImageRejected as rejected:
        return rejected


def _difference(one: np.ndarray, other: np.ndarray) -> int:
    return (
        int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max()) if one.shape == other.shape else 256
    )


def test_there_are_many_cases_each_with_a_name_of_its_own() -> None:
    names = [case.name for case in cases()]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


def test_the_cases_are_the_same_in_every_run() -> None:
    for case in cases()[::7]:
        assert case.make() == case.data, case.name


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_each_gives_its_pixels_or_its_reason_and_the_decoder_lives(
    case: Case, decoder: IsolatedDecoder, process: int
) -> None:
    outcome, expected = _outcome(decoder, case.data), case.expected
    assert decoder.pids() == [process], "the decode process died"
    if isinstance(outcome, ImageRejected):
        assert outcome.reason == expected, outcome.detail
        assert outcome.reason in REASONS
        assert case.says.lower() in outcome.detail.lower()
        assert re.search(r"[^.]\.$", outcome.detail)
    else:
        assert isinstance(expected, np.ndarray), f"decoded, and should be {expected}"
        assert outcome.rgb.shape == expected.shape
        assert _difference(outcome.rgb, expected) <= case.tolerance


def test_libvips_sees_the_same_or_the_difference_is_explained() -> None:
    """Where libvips opens a file that has right pixels. It compares with what the cases expect."""
    compared, apart = 0, []
    for case in cases():
        if case.reason is not None or re.fullmatch("|".join(EXPLAINED), case.name):
            continue
        seen, expected = rgb_by_vips(case.data), case.expected
        if seen is not None and isinstance(expected, np.ndarray):
            compared += 1
            if (difference := _difference(seen, expected)) > APART:
                apart.append(f"{case.name}: {difference}")
    assert not apart
    assert compared >= 200


def test_libvips_finds_the_same_numbers_in_tiffs_with_predictors() -> None:
    """Before they become a picture, where it gives such numbers no range."""
    compared = set()
    for one in tiff_numbers.files():
        if re.search("tiles-planes|lzma|float16.*planes", one.name) or not one.is_defined:
            continue  # libvips reads none of these, or not as they are
        try:
            seen = pyvips.Image.new_from_buffer(one.data(), "").numpy()
        except pyvips.Error:
            assert one.samples.dtype in (np.float16, np.float64), one.name
            continue
        assert np.array_equal(seen.reshape(one.samples.shape), one.samples), one.name
        compared.add((one.name.split("-")[1], one.samples.dtype.name))
    kinds = {*tiff_numbers.KINDS} - {"float16"}
    assert compared >= {("predictor2", kind) for kind in kinds - {"float64"}} | {("predictor3", "float32")}


def test_no_damage_is_a_mistake_of_ours_nor_kills_the_decoder(decoder: IsolatedDecoder, process: int) -> None:
    """A few bytes of each family's cases are changed, most of them in the header."""
    rng = np.random.default_rng(102)
    small = [case for case in cases() if 10 < len(case.data) < 20_000]
    for _ in range(800):
        case = small[rng.integers(len(small))]
        data = bytearray(case.data)
        reach = len(data) if rng.random() < 0.3 else min(len(data), 300)
        for at in rng.integers(0, reach, 3):
            data[at] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        outcome = _outcome(decoder, bytes(data))
        assert isinstance(outcome, Decoded) or outcome.reason in REASONS, (case.name, outcome.detail)
        assert decoder.pids() == [process], case.name


def test_no_explanation_is_without_a_case() -> None:
    names = [case.name for case in cases()]
    assert [one for one in EXPLAINED if not any(re.fullmatch(one, name) for name in names)] == []
