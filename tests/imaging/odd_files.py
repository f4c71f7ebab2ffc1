"""Broken and odd picture files, made from nothing, each with what must become of it.

``make_odd_files(folder)`` writes them and returns file name → ``"ok"`` or the reason code of its rejection.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

OK = "ok"
ORIENTATION = 0x0112
RED, GREEN, BLUE, GREY = (220, 30, 20), (20, 200, 40), (30, 40, 210), (128, 128, 128)
"""Top left, top right, bottom left and bottom right quarter of ``quarters``."""


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Four flat quarters, so that any turn or flip can be told from its corners."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, GREY
    return Image.fromarray(pixels)


def noise(width: int = 64, height: int = 48) -> Image.Image:
    """Pixels that do not compress, the same in every run."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


# --- PNG by hand --------------------------------------------------------------------------------------------


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from filtered rows; ``extra`` are whole chunks between header and data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + data + chunk(b"IEND", b"")


def png_bomb() -> bytes:
    """324 megapixels in about 40 kB."""
    return png(18_000, 18_000, 1, 0, bytes((1 + 18_000 // 8) * 18_000))


def grey16(values: list[int], *extra: bytes) -> bytes:
    """One row of 16-bit grey."""
    return png(len(values), 1, 16, 0, b"\0" + struct.pack(f">{len(values)}H", *values), *extra)


# --- JPEG by hand -------------------------------------------------------------------------------------------


def ycck() -> bytes:
    """A JPEG whose Adobe marker says YCCK, as Photoshop writes them: 16 × 16 of one colour.

    Stored are Y=105, Cb=128, Cr=128, K=204. Read by hand: YCC is grey 105; C, M and Y are what is missing to
    255, 150 each (T.872); Adobe stores inks inverted, so 150/255 of the light pass the colours, 204/255 of
    that the black: 120.
    """
    stored = Image.merge("CMYK", [Image.new("L", (16, 16), 255 - value) for value in (105, 128, 128, 204)])
    data = bytearray(encoded(stored, "JPEG", quality=100))
    data[data.index(b"Adobe\0") + 11] = 2
    return bytes(data)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(quarters(), "JPEG", quality=95, subsampling=0, exif=exif)


def huge_jpeg_header() -> bytes:
    data = bytearray(encoded(quarters(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


# --- the rest -----------------------------------------------------------------------------------------------


def broken_idat() -> bytes:
    data = bytearray(encoded(noise(), "PNG"))
    at = data.index(b"IDAT") + 4
    data[at : at + 60] = b"\xff" * 60
    return bytes(data)


def animated(name: str) -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN, BLUE)]
    return encoded(frames[0], name, save_all=True, append_images=frames[1:], duration=80)


def half_clear(mode: str, name: str) -> bytes:
    """Black, the left half fully transparent; mode P takes the palette that the format's writer chooses."""
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    if mode == "P":
        image = image.quantize(4) if name == "PNG" else image
        return encoded(image, name)
    return encoded(image.convert(mode), name)


def swapped_profile() -> bytes:
    """A picture in a colour space in which "red" is what sRGB calls blue, and the other way round."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"?XYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"?XYZ", b"bXYZ", 1)
    named = swapped.replace("sRGB".encode("utf-16-be"), "BGR!".encode("utf-16-be"))
    return encoded(quarters(), "PNG", icc_profile=named)


def unfit_profile() -> bytes:
    """RGB pixels with a profile for Lab: it says nothing about them."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return encoded(quarters(), "PNG", icc_profile=lab)


def zip_file() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inside.txt", "no picture")
    return file.getvalue()


def bmp_header_only() -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)


def endless_gif() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + bytes(40)


def bad_tiff() -> bytes:
    """A TIFF whose directory lies behind the end of the file."""
    return b"II*\0" + struct.pack("<I", 999_999) + bytes(40)


def icon_bomb() -> bytes:
    """An icon whose directory promises 16 × 16 and whose PNG has 324 megapixels."""
    bomb = png_bomb()
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(bomb), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + bomb


def float_tiff() -> bytes:
    return encoded(Image.fromarray(np.linspace(0, 1, 300, dtype=np.float32).reshape(15, 20)), "TIFF")


def _grey(mode: str) -> Image.Image:
    return quarters().convert(mode)


MAKERS: dict[str, tuple[str, Callable[[], bytes]]] = {
    # no pictures
    "zero_bytes.jpg": ("empty", lambda: b""),
    "text.jpg": ("not_an_image", lambda: b"This was a holiday photo, once.\n" * 20),
    "page.png": ("not_an_image", lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    "bmw.bmp": ("not_an_image", lambda: b"BMW builds cars in Munich; this is text."),
    "all_zero.jpg": ("not_an_image", lambda: bytes(5000)),
    "random.jpg": ("not_an_image", lambda: np.random.default_rng(3).bytes(4000)),
    "archive.jpg": ("not_an_image", zip_file),
    "paper.pdf": ("pdf", lambda: b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n"),
    "half_a_kilobyte_of_mp4.jpg": (
        "video",
        lambda: b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(480),
    ),
    # formats that are left out
    "drawing.svg": (
        "svg",
        lambda: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    ),
    "drawing.eps": ("unsupported", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
    "phone.heic": ("unreadable", lambda: b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(200)),
    "new.jxl": ("unreadable", lambda: b"\xff\x0a" + bytes(100)),
    # cut off
    "cut.jpg": ("truncated", lambda: encoded(noise(), "JPEG", quality=95)[:3000]),
    "cut_header.jpg": ("truncated", lambda: encoded(noise(), "JPEG")[:15]),
    "cut.png": ("truncated", lambda: encoded(noise(), "PNG")[:4000]),
    "cut_header.png": ("truncated", lambda: encoded(noise(), "PNG")[:20]),
    "cut.gif": ("truncated", lambda: encoded(noise(), "GIF")[:2500]),
    "cut.bmp": ("truncated", lambda: encoded(noise(), "BMP")[:3000]),
    "cut.webp": ("truncated", lambda: encoded(noise(), "WEBP", lossless=True)[:3000]),
    "cut.tif": ("truncated", lambda: encoded(noise(), "TIFF")[:3000]),
    # damaged
    "damaged_idat.png": ("unreadable", broken_idat),
    "bad_directory.tif": ("truncated", bad_tiff),
    "no_palette.png": ("unreadable", lambda: png(4, 1, 8, 3, b"\0\0\1\2\3")),
    # too large
    "bomb.png": ("too_many_pixels", png_bomb),
    "bomb.ico": ("too_many_pixels", icon_bomb),
    "endless.png": ("too_many_pixels", lambda: png(2**31 - 1, 2**31 - 1, 8, 2, b"")),
    "endless.jpg": ("too_many_pixels", huge_jpeg_header),
    "endless.bmp": ("too_many_pixels", bmp_header_only),
    "endless.gif": ("too_many_pixels", endless_gif),
    # odd, and good
    "cmyk.jpg": (OK, lambda: encoded(quarters().convert("CMYK"), "JPEG", quality=95)),
    "ycck.jpg": (OK, ycck),
    "grey.jpg": (OK, lambda: encoded(_grey("L"), "JPEG")),
    "progressive.jpg": (OK, lambda: encoded(noise(), "JPEG", progressive=True)),
    "no_extension": (OK, lambda: encoded(quarters(), "JPEG")),
    "png_named.jpg": (OK, lambda: encoded(quarters(), "PNG")),
    "UPPER.JPEG": (OK, lambda: encoded(quarters(), "JPEG")),
    "grey16.png": (OK, lambda: grey16([0, 257, 32896, 65535])),
    "grey16_key.png": (OK, lambda: grey16([1000, 60000], chunk(b"tRNS", struct.pack(">H", 1000)))),
    "bits.png": (OK, lambda: encoded(_grey("1"), "PNG")),
    "grey_alpha.png": (OK, lambda: half_clear("LA", "PNG")),
    "alpha.png": (OK, lambda: half_clear("RGBA", "PNG")),
    "palette_alpha.png": (OK, lambda: half_clear("P", "PNG")),
    "palette_alpha.gif": (OK, lambda: half_clear("P", "GIF")),
    "alpha.webp": (OK, lambda: half_clear("RGBA", "WEBP")),
    "swapped_profile.png": (OK, swapped_profile),
    "unfit_profile.png": (OK, unfit_profile),
    "broken_profile.jpg": (OK, lambda: encoded(quarters(), "JPEG", icc_profile=b"no profile at all" * 20)),
    "broken_exif.jpg": (OK, lambda: encoded(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")),
    "animated.gif": (OK, lambda: animated("GIF")),
    "animated.webp": (OK, lambda: animated("WEBP")),
    "animated.png": (OK, lambda: animated("PNG")),
    "one_pixel.gif": (OK, lambda: encoded(Image.new("P", (1, 1)), "GIF")),
    "ribbon.png": (OK, lambda: encoded(Image.new("L", (5000, 1), 77), "PNG")),
    "pages.tif": (OK, lambda: animated("TIFF")),
    "cmyk.tif": (OK, lambda: encoded(quarters().convert("CMYK"), "TIFF")),
    "lab.tif": (OK, lambda: encoded(Image.new("LAB", (8, 8), (255, 128, 128)), "TIFF")),
    "fax.tif": (OK, lambda: encoded(_grey("1"), "TIFF", compression="group4")),
    "float.tif": (OK, float_tiff),
    "grey16.tif": (OK, lambda: encoded(Image.fromarray(np.full((8, 8), 32896, np.uint16)), "TIFF")),
    "plain.bmp": (OK, lambda: encoded(quarters(), "BMP")),
    "plain.ppm": (OK, lambda: encoded(quarters(), "PPM")),
    "plain.tga": (OK, lambda: encoded(quarters(), "TGA")),
    "plain.ico": (OK, lambda: encoded(quarters(), "ICO")),
    "plain.webp": (OK, lambda: encoded(quarters(), "WEBP")),
} | {f"turned_{value}.jpg": (OK, lambda value=value: turned(value)) for value in range(1, 9)}

if features.check("jpg_2000"):
    MAKERS["plain.jp2"] = (OK, lambda: encoded(quarters(), "JPEG2000"))
if features.check("avif"):
    MAKERS["plain.avif"] = (OK, lambda: encoded(quarters(), "AVIF"))


def make_odd_files(folder: Path) -> dict[str, str]:
    """Write every odd file into ``folder``; file name → ``"ok"`` or the reason code it must be rejected
    with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, make) in MAKERS.items():
        (folder / name).write_bytes(make())
    return {name: expected for name, (expected, _) in MAKERS.items()}
