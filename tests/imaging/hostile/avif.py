"""AVIF: properties that the reader has to apply, and alpha as older writers store it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
from PIL import Image

from tests.imaging.hostile.case import Case, Pixels, of, on_white
from tests.imaging.hostile.wide import from_p3, from_rec2020
from tests.imaging.odd_files import encoded, quarters

NEAR = 8


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each box."""
    found, at = [], 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        length = length or len(data) - at
        found.append((kind, data[at + 8 : at + length]))
        at += length
    return found


def joined(found: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(struct.pack(">I4s", len(body) + 8, kind) + body for kind, body in found)


Links = dict[int, list[int]]
"""Item → numbers of its properties, as stored: the top bit means essential."""


def edited(data: bytes, edit: Callable[[list[tuple[bytes, bytes]], Links], None]) -> bytes:
    """The file with its properties (a list, counted from 1) and their links changed by ``edit``."""
    top = boxes(data)
    where = [kind for kind, _ in top].index(b"meta")
    meta = boxes(top[where][1][4:])
    at = [kind for kind, _ in meta].index(b"iprp")
    (_, properties), (_, links_body) = boxes(meta[at][1])
    listed, links = boxes(properties), _read_links(links_body)
    edit(listed, links)
    meta[at] = (b"iprp", joined([(b"ipco", joined(listed)), (b"ipma", _write_links(links))]))
    new = top[where][1][:4] + joined(meta)
    shift = len(new) - len(top[where][1])
    at = [kind for kind, _ in meta].index(b"iloc")
    meta[at] = (b"iloc", _shifted(meta[at][1], shift))
    top[where] = (b"meta", top[where][1][:4] + joined(meta))
    return joined(top)


def _read_links(body: bytes) -> Links:
    assert body[:4] == bytes(4)
    links, at = {}, 8
    for _ in range(int.from_bytes(body[4:8], "big")):
        item, count = struct.unpack_from(">HB", body, at)
        links[item] = list(body[at + 3 : at + 3 + count])
        at += 3 + count
    return links


def _write_links(links: Links) -> bytes:
    entries = b"".join(struct.pack(">HB", item, len(used)) + bytes(used) for item, used in links.items())
    return bytes(4) + struct.pack(">I", len(links)) + entries


def _shifted(body: bytes, shift: int) -> bytes:
    """An iloc box (version 0, four-byte offsets, with or without bases) whose data have moved."""
    assert body[:5] == b"\0\0\0\0\x44"
    assert body[5] in (0, 0x40)
    has_base = body[5] == 0x40
    new, at = bytearray(body), 8
    for _ in range(int.from_bytes(body[6:8], "big")):
        if has_base:
            struct.pack_into(">I", new, at + 4, int.from_bytes(new[at + 4 : at + 8], "big") + shift)
            at += 4
        extents = int.from_bytes(body[at + 4 : at + 6], "big")
        at += 6
        for _ in range(extents):
            if not has_base:
                struct.pack_into(">I", new, at, int.from_bytes(new[at : at + 4], "big") + shift)
            at += 8
    return bytes(new)


@cache
def plain() -> bytes:
    return encoded(quarters(), "AVIF", quality=95, subsampling="4:4:4")


def clap(
    left: int, top: int, width: int, height: int, whole: tuple[int, int] = (48, 32)
) -> tuple[bytes, bytes]:
    """The clean aperture: its offsets are between centres, in halves."""
    across, down = 2 * left + width - whole[0], 2 * top + height - whole[1]
    return b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, across, 2, down, 2)


def with_properties(*added: tuple[bytes, bytes], data: bytes | None = None) -> bytes:
    """The plain picture, these properties in this order on its first item (alpha items too)."""

    def edit(listed: list[tuple[bytes, bytes]], links: Links) -> None:
        for one in added:
            listed.append(one)
            for used in links.values():
                used.append(0x80 | len(listed))

    return edited(plain() if data is None else data, edit)


def _rotated(pixels: Pixels, quarters_left: int) -> Pixels:
    return np.rot90(pixels, quarters_left)


def transformed() -> Iterator[Case]:
    flat = of(quarters())
    box = (12, 4, 30, 20)
    cut = flat[4:24, 12:42]
    yield Case("avif-clap", partial(with_properties, clap(*box)), cut, tolerance=NEAR)
    for turns in (1, 2, 3):
        irot = (b"irot", bytes([turns]))
        yield Case(f"avif-irot{turns}", partial(with_properties, irot), _rotated(flat, turns), tolerance=NEAR)
        both = partial(with_properties, clap(*box), irot)
        yield Case(f"avif-clap-irot{turns}", both, _rotated(cut, turns), tolerance=NEAR)
    for axis, mirrored in ((0, lambda pixels: pixels[::-1]), (1, lambda pixels: pixels[:, ::-1])):
        imir = (b"imir", bytes([axis]))
        yield Case(f"avif-imir{axis}", partial(with_properties, imir), mirrored(flat), tolerance=NEAR)
        for turns in (1, 2, 3):
            both = partial(with_properties, (b"irot", bytes([turns])), imir)
            expected = mirrored(_rotated(flat, turns))
            yield Case(f"avif-irot{turns}-imir{axis}", both, expected, tolerance=NEAR)
    for name, data in (("exif", exif_alone()), ("xmp", xmp_alone())):
        yield Case(f"avif-{name}-orientation-does-not-count", lambda data=data: data, flat, tolerance=NEAR)
        irot = partial(with_properties, (b"irot", b"\1"), data=data)
        yield Case(f"avif-irot1-and-{name}", irot, _rotated(flat, 1), tolerance=NEAR)
    wrong = partial(with_properties, clap(12, 4, 60, 20))
    yield Case("avif-clap-beyond-the-picture", wrong, flat, tolerance=NEAR)


@cache
def exif_alone() -> bytes:
    """EXIF says 6, no property does: the properties win (ISO/IEC 23008-12)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(quarters(), "AVIF", quality=95, subsampling="4:4:4", exif=exif.tobytes())

    def undo(listed: list[tuple[bytes, bytes]], links: Links) -> None:
        for used in links.values():
            used[:] = [number for number in used if listed[(number & 0x7F) - 1][0] not in (b"irot", b"imir")]

    return edited(data, undo)


@cache
def xmp_alone() -> bytes:
    from tests.imaging.hostile.turns import xmp

    return encoded(quarters(), "AVIF", quality=95, subsampling="4:4:4", xmp=xmp(6))


def clear() -> Image.Image:
    picture = quarters().convert("RGBA")
    picture.putalpha(Image.fromarray((np.mgrid[0:32, 0:48][1] // 12 * 80).astype(np.uint8)))
    return picture


@cache
def with_alpha() -> bytes:
    return encoded(clear(), "AVIF", quality=95, subsampling="4:4:4")


def alpha_without_size() -> bytes:
    """As cavif and early libheif wrote it: the alpha item has no size of its own."""

    def edit(listed: list[tuple[bytes, bytes]], links: Links) -> None:
        for used in list(links.values())[1:]:
            used[:] = [number for number in used if listed[(number & 0x7F) - 1][0] != b"ispe"]

    return edited(with_alpha(), edit)


def without_times(data: bytes) -> bytes:
    """Sequences hold when they were made: twice eight bytes behind the flags of three boxes."""
    for kind in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.index(kind) + 8
        data = data[:at] + bytes(16) + data[at + 16 :]
    return data


def numbered(primaries: int, transfer: int, data: bytes | None = None) -> bytes:
    """Colours told by numbers (nclx), in place of the writer's."""

    def edit(listed: list[tuple[bytes, bytes]], links: Links) -> None:
        at = next(at for at, (kind, body) in enumerate(listed) if kind == b"colr" and body[:4] == b"nclx")
        listed[at] = (b"colr", b"nclx" + struct.pack(">HH", primaries, transfer) + listed[at][1][8:])

    return edited(plain() if data is None else data, edit)


def colours() -> Iterator[Case]:
    flat = of(quarters())
    yield Case("avif-p3-numbers", partial(numbered, 12, 13), from_p3(flat), tolerance=NEAR)
    yield Case("avif-rec2020-numbers", partial(numbered, 9, 13), from_rec2020(flat), tolerance=NEAR)
    over = on_white(from_p3(flat), np.asarray(clear().getchannel("A")))
    yield Case("avif-p3-numbers-alpha", lambda: numbered(12, 13, with_alpha()), over, tolerance=NEAR)
    box = partial(with_properties, clap(12, 4, 30, 20), data=numbered(12, 13))
    yield Case("avif-p3-numbers-clap", box, from_p3(flat)[4:24, 12:42], tolerance=NEAR)


def cases() -> Iterator[Case]:
    yield from colours()
    flat = of(quarters())
    yield Case("avif-plain", plain, flat, tolerance=NEAR)
    yield from transformed()
    over = on_white(flat, np.asarray(clear().getchannel("A")))
    yield Case("avif-alpha", with_alpha, over, tolerance=NEAR)
    yield Case("avif-alpha-without-size", alpha_without_size, over, tolerance=NEAR)
    rotated = partial(with_properties, (b"irot", b"\1"), data=with_alpha())
    yield Case("avif-alpha-irot1", rotated, _rotated(over, 1), tolerance=NEAR)
    cut = partial(with_properties, clap(12, 4, 30, 20), data=with_alpha())
    yield Case("avif-alpha-clap", cut, over[4:24, 12:42], tolerance=NEAR)
    both = partial(with_properties, clap(12, 4, 30, 20), data=alpha_without_size())
    yield Case("avif-alpha-without-size-clap", both, over[4:24, 12:42], tolerance=NEAR)
    grey = Image.fromarray(np.full((32, 48), 99, np.uint8))
    yield Case("avif-grey", partial(encoded, grey, "AVIF", quality=95), of(grey), tolerance=NEAR)
    options = {
        "quality": 95,
        "subsampling": "4:4:4",
        "save_all": True,
        "append_images": [quarters().rotate(180)],
    }
    moving = partial(encoded, quarters(), "AVIF", **options)
    yield Case("avif-animated", lambda: without_times(moving()), flat, tolerance=NEAR)
