"""Which formats are decoded, and what the first bytes say about files that Pillow does not open."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

PLUGINS: Final = {
    "JPEG": "Jpeg",
    "PNG": "Png",
    "WEBP": "WebP",
    "GIF": "Gif",
    "BMP": "Bmp",
    "TIFF": "Tiff",
    "AVIF": "Avif",
    "MPO": "Mpo",
    "JPEG2000": "Jpeg2K",
    "PPM": "Ppm",
    "ICO": "Ico",
    "CUR": "Cur",
    "ICNS": "Icns",
    "PSD": "Psd",
    "QOI": "Qoi",
    "SGI": "Sgi",
    "SUN": "Sun",
    "PCX": "Pcx",
    "DDS": "Dds",
    "XBM": "Xbm",
    "XPM": "Xpm",
    "TGA": "Tga",
}
"""Formats that hold pixels, tried in this order. Left out on purpose: those that start other programs (EPS
runs Ghostscript), that need a handler of the system (WMF), that are containers for something else (HDF5,
GRIB, FITS), or that take almost any bytes for a picture."""

SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "PSD"),
    (b"qoif", "QOI"),
    (b"\0\0\1\0", "ICO"),
    (b"icns", "ICNS"),
    (b"DDS ", "DDS"),
)
"""First bytes of formats that are decoded: when these do not open, the picture is broken."""

UNSUPPORTED: Final = (
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"SIMPLE  =", "FITS"),
    (b"gimp xcf", "XCF"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"AT&TFORM", "DjVu"),
)
"""First bytes of pictures in formats that are not decoded."""

_HEIF_BRANDS: Final = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF_BRANDS: Final = (b"avif", b"avis")


@cache
def decodable() -> tuple[str, ...]:
    """Names of the formats that this Pillow can decode; loads the plugins once, and no others.

    Naming only loaded plugins matters: `PIL.Image.open` imports every plugin there is for one that is
    missing.
    """
    from PIL import Image

    Image.preinit()
    for stem in PLUGINS.values():
        try:
            import_module(f"PIL.{stem}ImagePlugin")
        except ImportError:
            continue
    return tuple(name for name in PLUGINS if name in Image.OPEN)


def broken_format(head: bytes) -> str | None:
    """The decodable format that these first bytes announce."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return "AVIF"
    if head[:2] == b"BM" and head[15:18] == b"\0\0\0":  # two letters alone could begin any text
        return "BMP"
    return next((name for magic, name in SIGNATURES if head.startswith(magic)), None)


def unsupported_format(head: bytes) -> str | None:
    """The picture format that these first bytes announce and that is not decoded."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIF"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text
    ):
        return "SVG"
    return next((name for magic, name in UNSUPPORTED if head.startswith(magic)), None)


def is_shorter_than_declared(data: bytes) -> bool:
    """Whether the file is cut off, as far as its format lets one tell without decoding."""
    if data[:4] == b"RIFF" and len(data) >= 8:
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if data[:3] == b"\xff\xd8\xff":
        return b"\xff\xda" not in data  # no start of scan
    if data[:4] == b"\x89PNG":
        return not _png_has_end(data)
    return False


def _png_has_end(data: bytes) -> bool:
    """Whether the chunks of a PNG lie whole inside ``data`` up to IEND."""
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + length
    return False
