"""A folder with one file of each format: right pixels, or the documented code; and what each format needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from sightline.errors import ImageRejected
from sightline.imaging import IsolatedDecoder, Limits
from sightline.imaging.formats import media_type
from sightline.imaging.kinds import other_kind
from sightline.imaging.raw import raw_kind
from sightline.indexer.sources.listing import SourceItem, iter_source
from tests.imaging import jxl_bits
from tests.imaging.by_vips import rgb_by_vips
from tests.imaging.hostile import heif, jxl, raws
from tests.imaging.hostile.camera_raw import dng, dng_with_preview
from tests.imaging.hostile.case import Pixels, ramp
from tests.imaging.hostile.profiles import PRIMARIES, icc_gamma
from tests.imaging.hostile.turns import stored
from tests.imaging.hostile.wide import coded, from_p3
from tests.imaging.odd_files import encoded

P3_D50 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_D50 = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
ADOBE_GAMMA = 563 / 256
REFERENCE_WHITE_PQ, REFERENCE_WHITE_HLG = 0.5807, 0.75
"""Signals of 203 cd/m², by ITU-R BT.2408."""


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder() as shared:
        yield shared


def _apart(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max())


# --- one of each --------------------------------------------------------------------------------------------


def _scene() -> Pixels:
    return ramp(64, 48)


def _tiff(**options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, options.pop("values"), metadata=None, **options)
    return file.getvalue()


def _pages() -> bytes:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in (_scene(), 255 - _scene(), np.zeros_like(_scene())):
            writer.write(page, photometric="rgb", metadata=None)
    return file.getvalue()


def _picture() -> Image.Image:
    return Image.fromarray(_scene())


GOOD: dict[str, tuple[str, Callable[[], bytes], int]] = {
    "a.jpg": ("JPEG", lambda: encoded(_picture(), "JPEG", quality=98, subsampling=0), 12),
    "a.png": ("PNG", lambda: encoded(_picture(), "PNG"), 0),
    "a.webp": ("WEBP", lambda: encoded(_picture(), "WEBP", lossless=True), 0),
    "a.gif": ("GIF", lambda: encoded(_picture().quantize(256), "GIF"), 60),
    "a.bmp": ("BMP", lambda: encoded(_picture(), "BMP"), 0),
    "a.heic": ("HEIF", lambda: heif.heic("RGB", _scene()), 0),
    "IMG_0001.HEIC": ("HEIF", lambda: heif.heic("RGB", _scene()) + heif.film(), 0),
    "a.heif": ("HEIF", lambda: heif.heic("RGB", _scene(), tile_size=64), 0),
    "a.avif": ("AVIF", lambda: encoded(_picture(), "AVIF", quality=100, subsampling="4:4:4"), 6),
    "a.jxl": ("JXL", lambda: jxl.saved(_picture()), 0),
    "a.dng": (
        "RAW",
        lambda: dng_with_preview(_scene(), encoded(_picture(), "JPEG", quality=98, subsampling=0), (64, 48)),
        12,
    ),
    "a.tif": ("TIFF", lambda: _tiff(values=_scene().astype(np.uint16) * 257), 0),
    "float.tiff": ("TIFF", lambda: _tiff(values=(_scene() / 255).astype(np.float32), photometric="rgb"), 0),
    "pages.tif": ("TIFF", _pages, 0),
    "PXL_20260101.MP.jpg": (
        "JPEG",
        lambda: encoded(_picture(), "JPEG", quality=98, subsampling=0) + heif.film(),
        12,
    ),
}
"""Name in the folder → format, bytes, and what the encoder may cost."""
OTHER: dict[str, tuple[str, bytes]] = {
    "paper.pdf": ("pdf", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n"),
    "logo.svg": ("svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    "IMG_0001.MOV": ("video", b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(300)),
    "clip.mp4": ("video", heif.film()),
    "clip.mkv": ("video", b"\x1a\x45\xdf\xa3" + bytes(300)),
    "a.cr2": ("unsupported", raws.canon()),
    "a.cr3": ("unsupported", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(300)),
    "a.raf": ("unsupported", b"FUJIFILMCCD-RAW 0201" + bytes(300)),
    "a.rw2": ("unsupported", b"IIU\0\x18\0\0\0" + bytes(300)),
    "a.orf": ("unsupported", b"IIRO\x08\0\0\0" + bytes(300)),
    "notes.txt": ("not_an_image", b"nothing to see here\n" * 9),
}


def test_one_folder_with_a_file_of_each_format(tmp_path: Path, decoder: IsolatedDecoder) -> None:
    """Each is listed by its name, whatever it is, and becomes its pixels or its code."""
    for name, (_, make, _) in GOOD.items():
        (tmp_path / name).write_bytes(make())
    for name, (_, data) in OTHER.items():
        (tmp_path / name).write_bytes(data)
    listed = list(iter_source(str(tmp_path)))
    found = {item.image_id: item for item in listed if isinstance(item, SourceItem)}
    skipped = {item.image_id: item.kind for item in listed if not isinstance(item, SourceItem)}
    assert set(found) | set(skipped) == set(GOOD) | set(OTHER)
    assert not set(skipped) & set(GOOD)
    kinds = {"not_an_image": "text"}
    assert all(kind == kinds.get(OTHER[name][0], OTHER[name][0]) for name, kind in skipped.items())
    for name, (kind, _, tolerance) in GOOD.items():
        decoded = decoder.decode(found[name].read())
        assert (decoded.format, decoded.width, decoded.height) == (kind, 64, 48), name
        assert _apart(decoded.rgb, _scene()) <= tolerance, name
    for name, (code, _) in OTHER.items():
        with pytest.raises(ImageRejected) as caught:
            decoder.decode((tmp_path / name).read_bytes())
        assert caught.value.reason == code, (name, caught.value.detail)


@pytest.mark.parametrize("name", ["a.avif", "a.tif", "a.png", "pages.tif"])
def test_libvips_reads_the_same_pixels(name: str, decoder: IsolatedDecoder) -> None:
    """It has no decoder for HEVC, JPEG XL and raws: those are encoded without loss, from known pixels."""
    data = GOOD[name][1]()
    seen = rgb_by_vips(data)
    assert seen is not None
    assert _apart(decoder.decode(data).rgb, seen) <= 6


def test_originals_are_shown_as_what_they_are() -> None:
    """Browsers that do not know a type save the file."""
    types = {name: media_type(make()[:64]) for name, (_, make, _) in GOOD.items()}
    assert types["a.heic"] == "image/heic"
    assert types["a.jxl"] == "image/jxl"
    assert all(media_type(data[:64]) is None for _, data in OTHER.values() if data[:2] != b"II")


# --- colours ------------------------------------------------------------------------------------------------


def _by_hand(pixels: Pixels, gamma: float, primaries: tuple[tuple[float, float, float], ...]) -> Pixels:
    to_srgb = np.linalg.inv(np.array(PRIMARIES).T) @ np.array(primaries).T
    return coded((pixels / 255) ** gamma @ to_srgb.T)


@pytest.mark.parametrize(
    ("gamma", "primaries"), [(2.2, P3_D50), (ADOBE_GAMMA, ADOBE_D50)], ids=["Display P3", "Adobe RGB"]
)
def test_profiles_with_wide_primaries_become_srgb(
    gamma: float, primaries: tuple[tuple[float, float, float], ...], decoder: IsolatedDecoder
) -> None:
    pixels, profile = ramp(48, 32), icc_gamma(gamma, primaries)
    expected = _by_hand(pixels, round(gamma * 256) / 256, primaries)
    deep = heif.deep()
    expected_deep = _by_hand((deep >> 6) / 1023 * 255, round(gamma * 256) / 256, primaries)
    picture = Image.fromarray(pixels)
    files = {
        "HEIF": heif.heic("RGB", pixels, icc_profile=profile, icc_profile_type="prof"),
        "PNG": encoded(picture, "PNG", icc_profile=profile),
        "AVIF": encoded(picture, "AVIF", quality=100, subsampling="4:4:4", icc_profile=profile),
    }
    found = {kind: decoder.decode(data).rgb for kind, data in files.items()}
    assert _apart(found["PNG"], expected) <= 4
    assert _apart(found["HEIF"], found["PNG"]) == 0
    assert np.abs(found["AVIF"].astype(float) - expected).mean() <= 2
    ten = heif.heic("RGB;16", deep, icc_profile=profile, icc_profile_type="prof")
    assert _apart(decoder.decode(ten).rgb, expected_deep) <= 2


def _greys(white: int) -> np.ndarray:
    """[8, 64, 3]: a wedge of signals from 0 to ``white``."""
    wedge = np.rint(np.linspace(0, white, 64)).astype(np.uint16)
    return np.repeat(np.repeat(wedge[None, :, None], 8, 0), 3, 2)


@pytest.mark.parametrize(
    ("curve", "white"), [(heif.PQ, REFERENCE_WHITE_PQ), (heif.HLG, REFERENCE_WHITE_HLG)], ids=["PQ", "HLG"]
)
def test_high_dynamic_range_keeps_white_black_and_the_order_of_greys(
    curve: int, white: float, decoder: IsolatedDecoder
) -> None:
    said = {"color_primaries": heif.REC2020, "transfer_characteristics": curve}
    rgb = decoder.decode(heif.heic("RGB;16", _greys(1023) << 6, **said)).rgb.astype(np.int16)
    assert (rgb.max(-1) - rgb.min(-1)).max() <= 1, "grey stays grey"
    row = rgb[0, :, 1]
    assert row[0] == 0
    assert row[-1] == 255
    assert (np.diff(row) >= 0).all()
    assert 230 <= row[round(white * 63)] <= 245, "paper is bright, and highlights have room above"


def test_jpeg_xl_in_high_dynamic_range_keeps_the_order_of_greys(decoder: IsolatedDecoder) -> None:
    data = jxl_bits.described(_greys(255).astype(np.uint8), primaries=jxl_bits.REC_2100, curve=jxl_bits.PQ)
    row = decoder.decode(data).rgb[0, :, 1].astype(np.int16)
    assert row[0] <= 2
    assert row[-1] >= 250
    assert (np.diff(row) >= 0).all()
    assert row[round(REFERENCE_WHITE_PQ * 63)] >= 180


def test_jpeg_xl_says_display_p3_by_its_header(decoder: IsolatedDecoder) -> None:
    data = jxl_bits.described(_scene(), primaries=jxl_bits.DISPLAY_P3)
    assert _apart(decoder.decode(data).rgb, from_p3(_scene())) <= 2


# --- camera raws --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_sensors_values_become_the_colours_that_they_stand_for(
    orientation: int, decoder: IsolatedDecoder
) -> None:
    decoded = decoder.decode(dng(stored(raws.patches(), orientation), orientation))
    inside = np.zeros((120, 160), bool)
    for down in (slice(6, 54), slice(66, 114)):
        for across in (slice(6, 74), slice(86, 154)):
            inside[down, across] = True  # where two patches meet, colours are guessed
    assert _apart(decoded.rgb[inside], raws.patches()[inside]) <= 1


def test_half_of_a_large_sensor_is_developed_and_its_own_size_told(decoder: IsolatedDecoder) -> None:
    """One pixel for each square of four is right for each of them: white here, red there."""
    pixels = np.full((2000, 2600, 3), 255, np.uint8)
    pixels[:1000] = (200, 40, 30)
    decoded = decoder.decode(dng(pixels, orientation=6))
    assert (decoded.width, decoded.height, decoded.rgb.shape) == (2000, 2600, (1300, 1000, 3))
    assert _apart(decoded.rgb[:, 510:], np.broadcast_to(np.uint8([200, 40, 30]), (1300, 490, 3))) <= 1
    assert _apart(decoded.rgb[:, :490], np.full((1300, 490, 3), 255, np.uint8)) <= 1


def test_makers_are_named() -> None:
    makers = {b"NIKON CORPORATION": "NEF", b"SONY": "ARW", b"PENTAX": "PEF", b"SAMSUNG": "SRW"}
    for maker, name in makers.items():
        assert raw_kind(raws.camera_raw(maker)) == f"camera raw ({name})"
    assert raw_kind(raws.camera_raw(b"Hasselblad")) == "camera raw"
    assert raw_kind(dng(raws.patches())) == "camera raw (DNG)"
    assert raw_kind(GOOD["a.tif"][1]()) is None


def test_without_the_extra_raws_name_it_and_everything_else_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.dng").write_bytes(dng(raws.patches()))
    (tmp_path / "a.heic").write_bytes(GOOD["a.heic"][1]())
    lines = (
        "import sys, pathlib; sys.modules['rawpy'] = None",
        "from sightline.imaging import decode; from sightline.errors import ImageRejected",
        "print(decode(pathlib.Path('a.heic').read_bytes()).format)",
        "try: decode(pathlib.Path('a.dng').read_bytes())\nexcept ImageRejected as why: print(why)",
    )
    program = "\n".join(lines)
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(Path(__file__).parents[2])!r})\n{program}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ran.stdout.splitlines() == [
        "HEIF",
        "unsupported: The file is a camera raw (DNG): install sightline[raw] to read it, or export it "
        "as JPEG or TIFF.",
    ]


# --- TIFF ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "compression"), [("strips", None), ("tiles", "zlib"), ("planes", "lzma"), ("big", "zlib")]
)
@pytest.mark.parametrize("kind", ["uint16", "uint32", "int16", "float16", "float32", "float64"])
def test_tiffs_of_tifffile_have_the_values_that_it_reads_back(
    kind: str, layout: str, compression: str | None, decoder: IsolatedDecoder
) -> None:
    full = {"uint16": 65535, "uint32": 2**32 - 1, "int16": 32767}.get(kind, 1)
    values = (_scene() / 255 * full).astype(kind)
    options: dict[str, Any] = {"tiles": {"tile": (16, 16)}, "big": {"bigtiff": True}}.get(layout, {})
    if layout == "planes":
        values, options = np.ascontiguousarray(values.transpose(2, 0, 1)), {"planarconfig": "separate"}
    data = _tiff(values=values, photometric="rgb", compression=compression, **options)
    read = tifffile.imread(BytesIO(data)).astype(np.float64)
    read = read.transpose(1, 2, 0) if layout == "planes" else read
    top = 65535 if kind == "int16" else full
    assert _apart(decoder.decode(data).rgb, np.rint(read / top * 255).astype(np.uint8)) <= 1


def test_a_pyramid_of_tiffs_gives_its_whole_picture(decoder: IsolatedDecoder) -> None:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(_scene()[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(_scene(), photometric="rgb", subifds=1, metadata=None)
        writer.write(_scene()[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert np.array_equal(decoder.decode(file.getvalue()).rgb, _scene())


# --- limits -------------------------------------------------------------------------------------------------


def test_sizes_are_judged_before_a_pixel_is_decoded(decoder: IsolatedDecoder) -> None:
    for width, height in ((40_000, 40_000), (16_000, 16_001)):
        with pytest.raises(ImageRejected) as caught:
            decoder.decode(jxl_bits.header(width, height) + bytes(64))
        assert caught.value.reason == "too_many_pixels"
    picture = Image.fromarray(_scene())
    with IsolatedDecoder(Limits(max_pixels=1000)) as small:
        for data in (jxl.saved(picture), jxl.saved(picture, use_container=True), heif.plain(), dng(_scene())):
            with pytest.raises(ImageRejected) as caught:
                small.decode(data)
            assert caught.value.reason == "too_many_pixels"


def test_other_kinds_are_told_by_their_first_bytes() -> None:
    for name, (code, data) in OTHER.items():
        found = other_kind(data[:1024])
        assert (found[0] if found else None) == (code if code in ("pdf", "svg", "video") else None), name
    assert all(other_kind(make()) is None for _, make, _ in GOOD.values())


def test_a_still_of_a_sequence_is_its_first_frame(decoder: IsolatedDecoder) -> None:
    frames = [Image.fromarray(np.full((48, 64, 3), shade, np.uint8)) for shade in (30, 220)]
    for kind, options in (("AVIF", {"quality": 100}), ("WEBP", {"lossless": True}), ("GIF", {})):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        decoded = decoder.decode(data)
        assert abs(int(decoded.rgb.mean()) - 30) <= 2, kind
