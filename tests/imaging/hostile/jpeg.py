"""JPEG: inks with and without Adobe's marker and profile, colour transforms, kinds that nobody decodes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
from PIL import Image

from tests.imaging.hostile.case import Case, as_rgb, grey, of, ramp
from tests.imaging.hostile.inks import patches, printed, printed_by_swapped_press, swapped_press
from tests.imaging.odd_files import encoded, quarters

NEAR = 8
"""What JPEG at quality 95 may change in flat patches."""


@cache
def plain(**options: object) -> bytes:
    return encoded(quarters(), "JPEG", quality=95, subsampling=0, **options)


def with_frame(marker: int, precision: int = 8, components: int | None = None) -> bytes:
    """The plain picture with another start of frame: the header alone says what it is."""
    data = bytearray(plain())
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, precision
    if components is not None:
        length = 8 + 3 * components
        body = bytes(data[at + 10 : at + 10 + 3]) * components
        data[at : at + 2 + 17] = (
            data[at : at + 2] + struct.pack(">H", length) + data[at + 4 : at + 9] + bytes([components]) + body
        )
    return bytes(data)


def without(segment: int, data: bytes) -> bytes:
    """Without the marker segments of one kind."""
    at, kept = 2, data[:2]
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != segment:
            kept += data[at : at + length]
        at += length
    return kept + data[at:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def behind_start(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def inks(adobe: bool) -> bytes:
    """Inks inverted, as Adobe stores them, with its marker and without; every reader takes them so."""
    data = encoded(patches(), "JPEG", quality=98, subsampling=0)
    return data if adobe else without(0xEE, data)


def rgb_stored() -> bytes:
    """RGB without a colour transform, told by Adobe's marker."""
    return encoded(quarters(), "JPEG", quality=95, keep_rgb=True)


def half_mpo() -> bytes:
    """A panorama file whose index promises a second picture that is not there."""
    picture = Image.fromarray(np.asarray(quarters()))
    data = encoded(
        picture, "MPO", save_all=True, append_images=[quarters().rotate(180)], quality=95, subsampling=0
    )
    return data[: data.index(b"\xff\xd8", 10)]


def lying_mpo() -> bytes:
    """A panorama file whose index counts three pictures and lists two."""
    data = encoded(quarters(), "MPO", save_all=True, append_images=[quarters()], quality=95, subsampling=0)
    at = data.index(b"MPF\0")
    wrong = bytearray(data)
    for offset in range(at + 4, at + 60):
        if wrong[offset : offset + 4] == b"\x01\xb0\x04\0":
            wrong[offset + 8] = 3
    return bytes(wrong)


def kinds() -> Iterator[Case]:
    for marker, words in (
        (0xC3, "lossless JPEG"),
        (0xC5, "hierarchical JPEG"),
        (0xC6, "hierarchical JPEG"),
        (0xC7, "hierarchical JPEG"),
        (0xCB, "lossless JPEG"),
        (0xCD, "hierarchical JPEG"),
        (0xCF, "hierarchical JPEG"),
        (0xF7, "JPEG-LS"),
    ):
        yield Case(f"jpeg-kind-{marker:x}", partial(with_frame, marker), reason="unsupported", says=words)
    for bits in (2, 12, 16):
        data = partial(with_frame, 0xC1, bits)
        yield Case(f"jpeg-{bits}-bit", data, reason="unsupported", says=f"{bits}-bit JPEG")
    deep = partial(with_frame, 0xC3, 14)
    yield Case("jpeg-lossless-14-bit", deep, reason="unsupported", says="lossless JPEG")
    for count in (2, 5):
        data = partial(with_frame, 0xC0, 8, count)
        yield Case(f"jpeg-{count}-components", data, reason="unsupported", says=f"{count} components")


def cases() -> Iterator[Case]:
    flat = of(quarters())
    yield Case("jpeg-plain", plain, flat, tolerance=NEAR)
    yield Case("jpeg-progressive", partial(plain, progressive=True), flat, tolerance=NEAR)
    yield Case("jpeg-rgb-stored", rgb_stored, flat, tolerance=NEAR)
    soft = ramp(96, 64) // 4 * 4
    grey_picture = grey(64, 48) // 64 * 0 + 77
    yield Case(
        "jpeg-grey",
        partial(encoded, Image.fromarray(grey_picture), "JPEG"),
        as_rgb(grey_picture),
        tolerance=2,
    )
    for mode in range(3):
        smooth = Image.fromarray(soft).resize((96, 64)).convert("L").convert("RGB")
        data = partial(encoded, smooth, "JPEG", quality=98, subsampling=mode)
        yield Case(f"jpeg-subsampling-{mode}", data, of(smooth), tolerance=40)
    yield Case("jpeg-cmyk-adobe", partial(inks, True), printed, tolerance=NEAR + 4)
    yield Case("jpeg-cmyk-without-marker", partial(inks, False), printed, tolerance=NEAR + 4)
    yield Case("jpeg-cmyk-profile", cmyk_with_profile, printed_by_swapped_press, tolerance=NEAR + 4)
    yield Case("jpeg-junk-behind", lambda: plain() + b"<script>alert(1)</script>" * 40, flat, tolerance=NEAR)
    yield Case(
        "jpeg-html-in-comment",
        lambda: behind_start(plain(), segment(0xFE, b"<html>" * 99)),
        flat,
        tolerance=NEAR,
    )
    yield Case("jpeg-fill-bytes", lambda: plain()[:2] + b"\xff" * 9 + plain()[2:], flat, tolerance=NEAR)
    yield Case("jpeg-mpo-half", half_mpo, flat, tolerance=NEAR)
    yield Case("jpeg-mpo-lying", lying_mpo, flat, tolerance=NEAR)
    yield Case("jpeg-no-end", lambda: plain()[:-2], reason="truncated")
    yield Case("jpeg-height-0", height_zero, reason="unreadable")
    tall = np.full((65_500, 1), 90, np.uint8)
    yield Case("jpeg-1x65500", partial(encoded, Image.fromarray(tall), "JPEG"), as_rgb(tall), tolerance=2)
    broken = segment(0xE2, b"ICC_PROFILE\0\1\1" + b"no profile" * 30)
    yield Case("jpeg-broken-profile", lambda: behind_start(plain(), broken), flat, tolerance=NEAR)
    lost = segment(0xE2, b"ICC_PROFILE\0\2\3" + b"no profile" * 30)
    yield Case("jpeg-profile-in-part", lambda: behind_start(plain(), lost), flat, tolerance=NEAR)
    yield from kinds()


def height_zero() -> bytes:
    data = bytearray(plain())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 2] = b"\0\0"
    return bytes(data)


def cmyk_with_profile() -> bytes:
    """Inks with a profile of their own: another press than the standard one."""
    return encoded(patches(), "JPEG", quality=98, subsampling=0, icc_profile=swapped_press())
