"""What decoding may cost: bounded by what a file declares and brings; time, memory and structure."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from math import ceil

import numpy as np
import psutil
import pytest
from PIL import Image

from sightline.blip.pixels import resize
from sightline.errors import ImageRejected
from sightline.imaging import Decoded, IsolatedDecoder, Limits, decode
from sightline.imaging.budget import TOP_SECONDS, decoding_seconds, opening_seconds
from sightline.imaging.complexity import (
    MAX_CHUNKS,
    MAX_PROFILES,
    MAX_SCANS,
    MAX_SEGMENTS,
    check_scans,
    has_more_scans,
)
from sightline.imaging.decoding import decode_picture, make_thumbnail
from sightline.imaging.limits import Allowance
from tests.imaging.odd_files import ORIENTATION, chunk, encoded, noise, png, quarters

PATIENCE = 60.0


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder() as shared:
        yield shared


def scanned(count: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes again until there are ``count``."""
    data = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * (count - data.count(b"\xff\xda")) + data[end:]


def rejected(decoder: IsolatedDecoder, data: bytes) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        decoder.decode(data)
    return caught.value


# --- structure ----------------------------------------------------------------------------------------------


def test_a_jpeg_of_1500_scans_is_refused_by_their_number_and_one_of_100_is_decoded(
    decoder: IsolatedDecoder,
) -> None:
    decoder.decode(encoded(quarters(), "PNG"))
    before = decoder.pids()
    refused = rejected(decoder, scanned(1500))
    assert refused.reason == "too_complex"
    assert f"more than {MAX_SCANS} scans" in refused.detail
    assert decoder.decode(scanned(MAX_SCANS)).rgb.shape == (64, 64, 3)
    assert decoder.pids() == before


def test_the_larger_a_jpeg_the_fewer_scans_it_may_have() -> None:
    data = scanned(40)
    check_scans(data, 12_000_000)
    with pytest.raises(ImageRejected, match=r"more than 32 scans; .* at 50\.0 megapixels"):
        check_scans(data, 50_000_000)
    check_scans(scanned(16), 250_000_000)


def test_scans_of_previews_inside_of_metadata_are_not_counted() -> None:
    data = scanned(10)
    preview = b"\xff\xe1" + struct.pack(">H", 2 + 2000) + b"\xff\xda" * 1000
    data = data[:2] + preview + data[2:]
    assert data.count(b"\xff\xda") == 1010
    assert not has_more_scans(data, 10)
    assert has_more_scans(data, 9)
    assert decode(data).width == 64


def test_what_a_file_repeats_beside_its_pixels_is_bounded(decoder: IsolatedDecoder) -> None:
    rows = zlib.compress(bytes(25 * 8))
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(1 << 20)))
    jpeg = encoded(quarters(), "JPEG")
    files = {
        "chunks": png(8, 8, 8, 2, rows, *[chunk(b"tEXt", b"a\0b")] * (MAX_CHUNKS + 1)),
        "colour profiles": png(8, 8, 8, 2, rows, *[profile] * (MAX_PROFILES + 1)),
        "segments": jpeg[:2] + b"\xff\xe5\0\x02" * MAX_SEGMENTS + jpeg[2:],
    }
    for what, data in files.items():
        refused = rejected(decoder, data)
        assert refused.reason == "too_complex"
        assert what in refused.detail
    assert decode(jpeg[:2] + b"\xff\xe5\0\x02" * (MAX_SEGMENTS // 2) + jpeg[2:]).width == 48


# --- time ---------------------------------------------------------------------------------------------------


def test_a_file_whose_header_never_ends_is_given_up_once_and_its_neighbour_is_decoded() -> None:
    jpeg = encoded(quarters(), "JPEG")
    endless = jpeg[:2] + b"\xff" * 20_000_000 + jpeg[2:]
    with IsolatedDecoder(Limits(seconds=10), max_tries=3) as decoder:
        first, second = decoder.decode_many([endless, jpeg])
        assert isinstance(first, ImageRejected)
        assert first.reason == "timeout"
        assert "seconds of processor time" in first.detail
        assert "tried" not in first.detail
        assert isinstance(second, Decoded)


def test_time_that_a_process_does_not_get_is_not_held_against_its_picture() -> None:
    limits = Limits(seconds=20)
    data = encoded(Image.new("RGB", (6000, 4000)), "PNG", compress_level=1)
    with Image.open(BytesIO(data)) as opened:
        budget = opening_seconds(len(data), limits) + decoding_seconds(opened, len(data), limits)
    with IsolatedDecoder(limits, max_tries=1) as decoder:
        decoder.decode(encoded(quarters(), "PNG"))
        process = psutil.Process(decoder.pids()[0])
        process.suspend()
        results: list[Decoded] = []
        thread = threading.Thread(target=lambda: results.append(decoder.decode(data)))
        thread.start()
        thread.join(budget + 0.5)  # on the wall it has used up all it has
        assert thread.is_alive()
        process.resume()
        thread.join(PATIENCE)
        assert [one.width for one in results] == [6000]


def test_shares_grow_with_pixels_bytes_and_the_setting_and_end_at_it() -> None:
    small, large = (Image.new("RGB", (side, side)) for side in (100, 5000))
    for image in (small, large):
        image.format = "PNG"  # type: ignore[attr-defined]

    def seconds(image: Image.Image, length: int, top: float = TOP_SECONDS) -> float:
        return decoding_seconds(image, length, Limits(seconds=top))  # type: ignore[arg-type]

    assert seconds(small, 1000) < seconds(large, 1000) < seconds(large, 75_000_000)
    assert seconds(small, 1000) + opening_seconds(1000, Limits()) < 2
    assert seconds(large, 1000, 2 * TOP_SECONDS) == pytest.approx(2 * seconds(large, 1000))
    assert seconds(large, 1 << 40) == TOP_SECONDS


def test_formats_that_are_decoded_slowly_have_the_time_they_need(decoder: IsolatedDecoder) -> None:
    image = noise(400, 300)
    plain = b"P6 400 300 254\n" + np.asarray(image).clip(0, 254).tobytes()
    for data in (encoded(image, "QOI"), encoded(image, "DDS"), encoded(image, "JPEG2000"), plain):
        found = decoder.decode(data)
        assert np.abs(found.rgb.astype(int) - np.asarray(image)).max() <= 1
        assert found.cpu_seconds > 0


def test_one_picture_of_several_gets_what_is_left(decoder: IsolatedDecoder) -> None:
    data = encoded(quarters(), "PNG")
    assert decoder.decode(data, Allowance(48 * 32, 5.0)).width == 48
    with pytest.raises(ImageRejected) as caught:
        decoder.decode(data, Allowance(48 * 32 - 1, 5.0))
    assert caught.value.reason == "too_many_pixels"
    with pytest.raises(ImageRejected, match="all that was left") as caught:
        decoder.decode(encoded(noise(900, 900), "PNG", compress_level=1), Allowance(10**8, 0.001))
    assert caught.value.reason == "timeout"


# --- memory and size ----------------------------------------------------------------------------------------


def test_pictures_over_a_limit_are_told_their_size_the_limit_and_the_setting() -> None:
    data = encoded(Image.new("L", (9000, 7000)), "PNG")
    with pytest.raises(ImageRejected) as caught:
        decode(data, Limits(max_pixels=50_000_000))
    assert caught.value.detail == (
        "The picture is 9000 × 7000, 63.0 megapixels; the limit is 50 megapixels "
        "(SIGHTLINE_IMAGING__MAX_PIXELS)."
    )
    with pytest.raises(ImageRejected, match=r"9000 × 7000, .* MB .*SIGHTLINE_IMAGING__MEMORY_BYTES"):
        decode(data, Limits(memory_bytes=10 << 20))
    with pytest.raises(ImageRejected, match="SIGHTLINE_IMAGING__MAX_BYTES"):
        decode(data, Limits(max_bytes=100))


def _ways() -> dict[str, Callable[[Image.Image], bytes]]:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return {
        "jpeg": lambda image: encoded(image, "JPEG", quality=95, subsampling=0),
        "progressive": lambda image: encoded(image, "JPEG", quality=95, progressive=True),
        "turned": lambda image: encoded(image, "JPEG", quality=95, exif=exif),
        "turned png": lambda image: encoded(image, "PNG", exif=exif),
        "cmyk": lambda image: encoded(image.convert("CMYK"), "TIFF"),
        "palette": lambda image: encoded(image.quantize(8), "GIF"),
        "grey": lambda image: encoded(image.convert("L"), "PNG"),
        "deep": lambda image: encoded(_deep(image), "PNG"),
        "transparent": lambda image: encoded(_faded(image), "PNG"),
        "webp": lambda image: encoded(image, "WEBP", lossless=True),
    }


def _deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def _faded(image: Image.Image) -> Image.Image:
    faded = image.convert("RGBA")
    faded.putalpha(Image.linear_gradient("L").resize(image.size))
    return faded


@pytest.mark.parametrize("whole", [60_000, 9_000, 500])
@pytest.mark.parametrize("way", list(_ways()))
def test_large_pictures_come_reduced_upright_and_with_their_own_size(way: str, whole: int) -> None:
    data = _ways()[way](quarters(400, 300))
    full, found = decode(data), decode(data, Limits(whole_pixels=whole))
    assert (found.width, found.height) == (full.width, full.height)
    rows, columns, _ = found.rgb.shape
    assert rows * columns <= whole
    factor = round(full.width / columns)
    assert (columns, rows) == (ceil(full.width / factor), ceil(full.height / factor))
    wide = Image.fromarray(full.rgb).resize((columns, rows), Image.Resampling.BOX)
    assert np.abs(found.rgb.astype(int) - np.asarray(wide)).mean() < 3


def test_reduced_pictures_stay_within_the_tolerance_of_the_models_pixels() -> None:
    # Hard edges and grain: worse than any camera's picture. Half of 52 megapixels' sides, and of the model's.
    small = np.random.default_rng(3).integers(0, 256, (130, 160, 3), np.uint8)
    grain = np.random.default_rng(4).integers(-20, 21, (3250, 4000, 1), np.int16)
    pixels = (small.repeat(25, axis=0).repeat(25, axis=1) + grain).clip(0, 255).astype(np.uint8)
    data = encoded(Image.fromarray(pixels), "JPEG", quality=90)
    reduced = np.asarray(decode_picture(data, Limits(whole_pixels=12_500_000)).rgb)
    whole = np.asarray(decode_picture(data, Limits()).rgb)
    assert (reduced.shape, whole.shape) == ((1625, 2000, 3), (3250, 4000, 3))
    for side in (112, 182):
        off = np.abs(resize(reduced, side).astype(int) - resize(whole, side))
        assert off.mean() <= 1
        assert off.max() <= 16


class Watched(Sequence[bytes]):
    """Pictures that know how many of them were asked for."""

    def __init__(self, pictures: Sequence[bytes]) -> None:
        self.pictures = pictures
        self.taken = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> bytes:  # type: ignore[override]
        found = self.pictures[index]
        self.taken = index + 1
        return found


@pytest.mark.parametrize("processes", [1, 2])
def test_of_many_pictures_only_a_few_are_decoded_ahead(processes: int) -> None:
    pictures = Watched([encoded(quarters(), "PNG")] * 12)
    with IsolatedDecoder(processes=processes) as decoder:
        for number, _ in enumerate(decoder.decode_many(pictures), 1):
            assert pictures.taken <= number + processes
        assert number == 12


# --- mistakes -----------------------------------------------------------------------------------------------


def test_a_mistake_of_our_own_is_not_called_the_files_fault() -> None:
    data = encoded(quarters(), "PNG")
    with pytest.raises(ImageRejected) as caught:
        decode_picture(data, Limits(), lambda opened: make_thumbnail(None, 1) and None)  # type: ignore[arg-type,func-returns-value]
    assert caught.value.reason == "internal"
    assert "AttributeError in decoding.py" in caught.value.detail
    with pytest.raises(ImageRejected) as caught:
        decode(data[:60] + data[70:])
    assert caught.value.reason != "internal"
