"""Which formats are decoded, and what the first bytes of a file say."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final, NamedTuple

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


class Signature(NamedTuple):
    """How files of a format begin: all ``marks`` (offset, bytes) must be there."""

    name: str
    media_type: str | None
    """What browsers show it as; None for what they do not know."""
    marks: tuple[tuple[int, bytes], ...]

    def fits(self, head: bytes) -> bool:
        """Whether a file with these first bytes announces this format."""
        return all(head.startswith(mark, at) for at, mark in self.marks)


SIGNATURES: Final = (
    Signature("JPEG", "image/jpeg", ((0, b"\xff\xd8\xff"),)),
    Signature("PNG", "image/png", ((0, b"\x89PNG"),)),
    Signature("GIF", "image/gif", ((0, b"GIF8"),)),
    Signature("WebP", "image/webp", ((0, b"RIFF"), (8, b"WEBP"))),
    Signature("AVIF", "image/avif", ((4, b"ftypavif"),)),
    Signature("AVIF", "image/avif", ((4, b"ftypavis"),)),
    Signature("BMP", "image/bmp", ((0, b"BM"), (15, b"\0\0\0"))),  # two letters alone could begin any text
    Signature("TIFF", "image/tiff", ((0, b"II*\0"),)),
    Signature("TIFF", "image/tiff", ((0, b"MM\0*"),)),
    Signature("TIFF", "image/tiff", ((0, b"II+\0"),)),
    Signature("TIFF", "image/tiff", ((0, b"MM\0+"),)),
    Signature("JPEG 2000", None, ((0, b"\0\0\0\x0cjP  "),)),
    Signature("JPEG 2000", None, ((0, b"\xff\x4f\xff\x51"),)),
    Signature("PSD", None, ((0, b"8BPS"),)),
    Signature("QOI", None, ((0, b"qoif"),)),
    Signature("ICO", None, ((0, b"\0\0\1\0"),)),
    Signature("ICNS", None, ((0, b"icns"),)),
    Signature("DDS", None, ((0, b"DDS "),)),
)
"""Formats that are decoded: when files that begin so do not open, the picture is broken."""

HEIF_BRANDS: Final = (
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
)  # fmt: skip
"""First brands of HEIF."""

BY_OTHERS: Final = (
    *(Signature("HEIF", "image/heic", ((4, b"ftyp" + brand),)) for brand in HEIF_BRANDS),
    Signature("JPEG XL", "image/jxl", ((0, b"\xff\x0a"),)),
    Signature("JPEG XL", "image/jxl", ((0, b"\0\0\0\x0cJXL \r\n\x87\n"),)),
    *(
        Signature(f"camera raw ({name})", None, ((at, mark),))
        for name, at, mark in (
            ("RAF", 0, b"FUJIFILMCCD-RAW"),
            ("ORF", 0, b"IIRO"),
            ("ORF", 0, b"IIRS"),
            ("ORF", 0, b"MMOR"),
            ("RW2", 0, b"IIU\0"),
            ("CR3", 4, b"ftypcrx "),
            ("CRW", 6, b"HEAPCCDR"),
            ("X3F", 0, b"FOVb"),
            ("MRW", 0, b"\0MRM"),
        )
    ),
)
"""Formats that are decoded by libraries beside Pillow. Camera raws of the other makers are TIFFs."""

UNSUPPORTED: Final = (
    Signature("PostScript", None, ((0, b"%!PS"),)),
    Signature("PostScript", None, ((0, b"\xc5\xd0\xd3\xc6"),)),
    Signature("WMF", None, ((0, b"\xd7\xcd\xc6\x9a"),)),
    Signature("FITS", None, ((0, b"SIMPLE  ="),)),
    Signature("XCF", None, ((0, b"gimp xcf"),)),
    Signature("OpenEXR", None, ((0, b"\x76\x2f\x31\x01"),)),
    Signature("Radiance HDR", None, ((0, b"#?RADIANCE"),)),
    Signature("DjVu", None, ((0, b"AT&TFORM"),)),
)
"""Formats of pictures that are not decoded."""


@cache
def decodable() -> tuple[str, ...]:
    """Names of the formats that this Pillow can decode; loads the plugins once, and no others.

    Naming only loaded plugins matters: for one that is missing, `PIL.Image.open` imports all there are.
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
    return next((one.name for one in (*SIGNATURES, *BY_OTHERS) if one.fits(head)), None)


def media_type(head: bytes) -> str | None:
    """What browsers show a file with these first bytes as; None when it is no picture that they know."""
    return next((one.media_type for one in (*SIGNATURES, *BY_OTHERS) if one.fits(head)), None)


def unsupported_format(head: bytes) -> str | None:
    """The picture format that these first bytes announce and that is not decoded."""
    return next((one.name for one in UNSUPPORTED if one.fits(head)), None)
