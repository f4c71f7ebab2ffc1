"""BMP, PNM, PFM, PSD, TGA, QOI, ICO, JPEG 2000, and files that are no pictures."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
from PIL import Image

from tests.imaging.hostile.case import Case, as_rgb, grey, of, on_white, ramp
from tests.imaging.hostile.inks import patches, printed
from tests.imaging.odd_files import encoded, quarters


def bmp(
    bits: int, rows: bytes, *, masks: tuple[int, ...] = (), down: bool = False, palette: bytes = b""
) -> bytes:
    """20 × 12, rows from the bottom unless ``down``."""
    extra = struct.pack(f"<{len(masks)}I", *masks)
    start = 54 + len(extra) + len(palette)
    height = -12 if down else 12
    head = struct.pack("<IiiHHIIiiII", 40, 20, height, 1, bits, 3 if masks else 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + extra + palette + rows


def bitmaps() -> Iterator[Case]:
    red, green, blue = (ramp()[..., one].astype(np.uint32) for one in range(3))
    for down in (False, True):
        step = 1 if down else -1
        name = "-top-down" if down else ""
        bgr = ramp()[::step, :, ::-1].tobytes()
        yield Case(f"bmp-24{name}", partial(bmp, 24, bgr, down=down), ramp())
        four = np.concatenate([ramp()[..., ::-1], np.zeros((12, 20, 1), np.uint8)], -1)[::step].tobytes()
        yield Case(f"bmp-32{name}", partial(bmp, 32, four, down=down), ramp())
        for masks, bits in (((0xF800, 0x7E0, 0x1F), (5, 6, 5)), ((0x7C00, 0x3E0, 0x1F), (5, 5, 5))):
            parts = [channel >> (8 - depth) for channel, depth in zip((red, green, blue), bits, strict=True)]
            word = parts[0] << (bits[1] + bits[2]) | parts[1] << bits[2] | parts[2]
            expected = np.stack(
                [np.rint(part * 255 / ((1 << depth) - 1)) for part, depth in zip(parts, bits, strict=True)],
                -1,
            )
            rows = word[::step].astype("<u2").tobytes()
            data = partial(bmp, 16, rows, masks=masks, down=down)
            yield Case(
                f"bmp-16-{''.join(map(str, bits))}{name}", data, expected.astype(np.uint8), tolerance=8
            )
    colours = np.random.default_rng(8).integers(0, 256, (256, 4)).astype(np.uint8)
    colours[:, 3] = 0
    eight = partial(bmp, 8, grey()[::-1].tobytes(), palette=colours.tobytes())
    yield Case("bmp-8-palette", eight, colours[grey()][..., 2::-1])


def anymaps() -> Iterator[Case]:
    height, width = grey().shape
    size = b"%d %d\n" % (width, height)
    yield Case("pgm-8", lambda: b"P5\n" + size + b"255\n" + grey().tobytes(), as_rgb(grey()))
    deep = grey().astype(">u2") * 257
    yield Case("pgm-16", lambda: b"P5\n" + size + b"65535\n" + deep.astype(">u2").tobytes(), as_rgb(grey()))
    ten = np.rint(grey() / 255 * 1023).astype(">u2")
    yield Case("pgm-10", lambda: b"P5\n" + size + b"1023\n" + ten.tobytes(), as_rgb(grey()), tolerance=1)
    wide = ramp().astype(">u2") * 257
    yield Case(
        "ppm-16", lambda: b"P6\n" + size + b"65535\n" + wide.astype(">u2").tobytes(), ramp(), tolerance=1
    )
    words = b" ".join(b"%d" % value for value in ramp().reshape(-1))
    yield Case("ppm-in-words", lambda: b"P3\n# a comment\n" + size + b"255\n" + words, ramp())
    shades = b" ".join(b"%d" % value for value in grey().reshape(-1))
    yield Case("pgm-in-words", lambda: b"P2\n" + size + b"255\n" + shades, as_rgb(grey()))
    black = (grey() > 127).astype(np.uint8)
    bits = np.packbits(black, axis=1).tobytes()
    yield Case("pbm", lambda: b"P4\n" + size + bits, as_rgb(255 - black * 255))
    for order, sign in (("<", b"-1.0"), (">", b"1.0")):
        values = (grey() / 255).astype(order + "f4")[::-1].tobytes()
        name = "le" if order == "<" else "be"
        yield Case(
            f"pfm-grey-{name}",
            partial(bytes.join, b"", (b"Pf\n", size, sign + b"\n", values)),
            as_rgb(grey()),
        )
        colours = (ramp() / 255).astype(order + "f4")[::-1].tobytes()
        data = partial(bytes.join, b"", (b"PF\n", size, sign + b"\n", colours))
        yield Case(f"pfm-colour-{name}", data, ramp(), tolerance=1)
    beyond = np.array([[-1.0, 0.0, 3.0]], "<f4").tobytes()
    expected = as_rgb(np.array([[0, 64, 255]], np.uint8))
    yield Case("pfm-beyond", lambda: b"Pf\n3 1\n-1.0\n" + beyond, expected)


def psd(mode: int, planes: np.ndarray, depth: int = 8) -> bytes:
    """[C, H, W] as Photoshop stores it, uncompressed."""
    channels, height, width = planes.shape
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, depth, mode)
    return head + struct.pack(">III", 0, 0, 0) + b"\0\0" + planes.tobytes()


def photoshop() -> Iterator[Case]:
    yield Case("psd-rgb", partial(psd, 3, ramp().transpose(2, 0, 1)), ramp())
    yield Case("psd-grey", partial(psd, 1, grey()[None]), as_rgb(grey()))
    ink = 255 - np.asarray(patches()).transpose(2, 0, 1)
    yield Case("psd-cmyk", partial(psd, 4, ink), printed, tolerance=3)
    deep = (ramp().astype(np.uint16) * 257).astype(">u2").transpose(2, 0, 1)
    yield Case("psd-rgb16", partial(psd, 3, deep, 16), reason="unsupported", says="16-bit")
    yield Case(
        "psd-multichannel",
        partial(psd, 7, ramp().transpose(2, 0, 1)),
        reason="unsupported",
        says="multichannel",
    )


def jpeg2000() -> Iterator[Case]:
    for raw in (False, True):
        tail = "-raw" if raw else ""
        data = partial(encoded, Image.fromarray(ramp()), "JPEG2000", no_jp2=raw)
        yield Case(f"jp2-rgb{tail}", data, ramp())
        data = partial(encoded, Image.fromarray(grey()), "JPEG2000", no_jp2=raw)
        yield Case(f"jp2-grey{tail}", data, as_rgb(grey()))
    alpha = (np.mgrid[0:12, 0:20][1] * 13).astype(np.uint8)
    clear = Image.fromarray(np.concatenate([ramp(), alpha[..., None]], -1), "RGBA")
    yield Case("jp2-alpha", partial(encoded, clear, "JPEG2000"), on_white(ramp(), alpha), tolerance=1)
    deep = Image.fromarray(grey().astype(np.uint16) * 257)
    yield Case("jp2-grey16", partial(encoded, deep, "JPEG2000"), as_rgb(grey()))


def no_pictures() -> Iterator[Case]:
    yield Case("empty", lambda: b"", reason="empty")
    for name, head in (
        ("text", b"Hello, I am no picture. " * 30),
        ("html", b"<!DOCTYPE html><html><script>alert(1)</script>" * 9),
        ("elf", b"\x7fELF\2\1\1" + bytes(500)),
        ("zip", b"PK\3\4" + b"y" * 500),
        ("gzip", b"\x1f\x8b\x08" + b"z" * 500),
        ("pickle", b"\x80\x04\x95" + b"q" * 500),
        ("zeros", bytes(4096)),
        ("ones", b"\xff" * 4096),
        ("one-byte", b"\x89"),
        ("random", np.random.default_rng(9).bytes(4096)),
    ):
        yield Case(f"not-{name}", lambda head=head: head, reason="not_an_image")
    for name, head, words in (
        ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        ("exr", b"\x76\x2f\x31\x01" + bytes(100), "OpenEXR"),
        ("hdr", b"#?RADIANCE\n" + bytes(100), "Radiance"),
        ("fits", b"SIMPLE  =                    T", "FITS"),
        ("xcf", b"gimp xcf v011\0" + bytes(100), "XCF"),
        ("djvu", b"AT&TFORM" + bytes(100), "DjVu"),
        ("wmf", b"\xd7\xcd\xc6\x9a" + bytes(100), "WMF"),
    ):
        yield Case(f"kind-{name}", lambda head=head: head, reason="unsupported", says=words)


def other_kinds() -> Iterator[Case]:
    """What lies among pictures and is none, under codes of its own."""
    for name, head, reason in (
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        ("svg-declared", b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="4"/>', "svg"),
        ("pdf", b"%PDF-1.7\n" + b"x" * 500, "pdf"),
        ("pdf-behind-a-mark", b"\xef\xbb\xbf\n%PDF-1.4\n" + b"x" * 500, "pdf"),
        ("mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(500), "video"),
        ("mov-of-a-live-photo", b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(500), "video"),
        ("mov-without-brand", b"\0\0\1\0moov" + bytes(500), "video"),
        ("3gp", b"\0\0\0\x14ftyp3gp4\0\0\2\0" + bytes(500), "video"),
        ("mkv", b"\x1a\x45\xdf\xa3" + bytes(500), "video"),
        ("avi", b"RIFF\0\1\0\0AVI LIST" + bytes(500), "video"),
        ("wmv", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(500), "video"),
        ("flv", b"FLV\1\5" + bytes(500), "video"),
        ("mpg", b"\0\0\1\xba" + bytes(500), "video"),
        ("ts", (b"G" + bytes(187)) * 6, "video"),
        ("mts", (bytes(4) + b"G" + bytes(187)) * 6, "video"),
    ):
        yield Case(f"other-{name}", lambda head=head: head, reason=reason)


def small_formats() -> Iterator[Case]:
    picture = Image.fromarray(ramp())
    for name, options in (
        ("TGA", {}),
        ("TGA", {"rle": True}),
        ("QOI", {}),
        ("SGI", {}),
        ("PCX", {}),
        ("DDS", {}),
    ):
        tail = "-rle" if options else ""
        yield Case(f"{name.lower()}{tail}", partial(encoded, picture, name, **options), ramp())
    for name, sizes in product(("ICO",), ([(16, 16)], [(16, 16), (32, 32)])):
        square = quarters(32, 32)
        side = max(sizes)[0]
        expected = of(square.resize((side, side), Image.Resampling.LANCZOS))
        yield Case(f"ico-{len(sizes)}", partial(encoded, square, name, sizes=sizes), expected, tolerance=60)
    icon = partial(encoded, quarters(32, 32), "ICO", sizes=[(32, 32)], bitmap_format="bmp")
    yield Case("ico-bitmap", icon, of(quarters(32, 32)))


def cases() -> Iterator[Case]:
    yield from bitmaps()
    yield from anymaps()
    yield from photoshop()
    yield from jpeg2000()
    yield from no_pictures()
    yield from other_kinds()
    yield from small_formats()
