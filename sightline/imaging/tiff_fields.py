"""What a TIFF says about itself: its directories, and which of them is the picture.

Read here rather than by Pillow, which takes the first directory for the picture; in camera raws, and behind
some scanners, that is a thumbnail.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MARKS: Final = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = (
    254,
    255,
    256,
    257,
    258,
    259,
    262,
)
FILL_ORDER, MAKE, STRIPS, ORIENTATION, SAMPLES, ROWS_PER_STRIP = 266, 271, 273, 274, 277, 278
STRIP_BYTES, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILES = 279, 284, 317, 320, 322, 323, 324
TILE_BYTES, INSIDE, INK_SET, EXTRA, FORMAT, SUBSAMPLING, XMP = 325, 330, 332, 338, 339, 530, 700
PROFILE, CR2_SLICES, DNG_VERSION = 34675, 50752, 50706
_KINDS: Final = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_LENGTHS: Final = {5: 8, 10: 8, 11: 4, 12: 8} | {kind: struct.calcsize(code) for kind, code in _KINDS.items()}
_MOST_DIRECTORIES: Final = 64
_MOST_ENTRIES: Final = 4096
_REDUCED, _MASK = 1, 4
_OLD_REDUCED: Final = 2
_SENSOR: Final = (32803, 34892)
"""Photometric values of a sensor's colour filter array, and of its linear values."""
_RAW_BY_MAKER: Final = {b"nikon": "NEF", b"sony": "ARW", b"pentax": "PEF", b"samsung": "SRW", b"canon": "CR2"}


@dataclass(frozen=True)
class Entry:
    """One tag: its type, how many values, and the place of their bytes."""

    kind: int
    count: int
    start: int

    @property
    def length(self) -> int:
        """Bytes of the values."""
        return self.count * _LENGTHS.get(self.kind, 0)


@dataclass(frozen=True)
class Directory:
    """One image file directory of ``data``."""

    data: bytes
    order: str
    big: bool
    entries: dict[int, Entry]
    next: int

    def blob(self, tag: int) -> bytes:
        """The bytes of a tag; none when it is missing or lies outside of the file."""
        entry = self.entries.get(tag)
        return b"" if entry is None else self.data[entry.start : entry.start + entry.length]

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag of integers; none when it is missing or broken."""
        entry = self.entries.get(tag)
        code = None if entry is None else _KINDS.get(entry.kind)
        found = self.blob(tag)
        if entry is None or code is None or len(found) < entry.length:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{code}", found)

    def number(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return next(iter(self.numbers(tag)), default)

    @property
    def is_tiled(self) -> bool:
        """Whether the pixels lie in tiles, not in strips."""
        return TILES in self.entries

    @property
    def pieces(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the strips or tiles begin, and how many bytes they have."""
        tags = (TILES, TILE_BYTES) if self.is_tiled else (STRIPS, STRIP_BYTES)
        return self.numbers(tags[0]), self.numbers(tags[1])

    @property
    def pieces_needed(self) -> int:
        """How many strips or tiles the whole picture takes; 0 when their size makes no sense."""
        width, height = self.number(WIDTH, 0), self.number(HEIGHT, 0)
        across = self.number(TILE_WIDTH, 0) if self.is_tiled else width
        down = self.number(TILE_HEIGHT, 0) if self.is_tiled else self.number(ROWS_PER_STRIP, height)
        if min(across, down, width, height) <= 0:
            return 0
        planes = self.number(SAMPLES, 1) if self.number(PLANAR, 1) == 2 else 1
        return planes * -(-width // across) * -(-height // down)

    @property
    def is_small(self) -> bool:
        """Whether it says to be a thumbnail or a mask of another one."""
        kind = self.number(SUBFILE_TYPE, 0)
        return bool(kind & (_REDUCED | _MASK)) or self.number(OLD_SUBFILE_TYPE, 0) == _OLD_REDUCED


def read_directories(data: bytes) -> list[Directory]:
    """All directories: the chain, each followed by those inside of it. None when the header is broken."""
    order = MARKS.get(data[:4])
    if order is None:
        return []
    big = 43 in data[2:4]
    start = struct.unpack_from(order + "Q", data, 8)[0] if big and len(data) >= 16 else _offset(data, order)
    found: list[Directory] = []
    seen: set[int] = set()
    waiting = [start]
    while waiting and len(found) < _MOST_DIRECTORIES:
        at = waiting.pop(0)
        directory = None if at in seen else _read(data, order, big, at)
        seen.add(at)
        if directory is None:
            continue
        found.append(directory)
        waiting[:0] = [*directory.numbers(INSIDE), directory.next]
    return found


def picture_directory(data: bytes) -> Directory | None:
    """The directory of the full picture; None when there is no directory at all."""
    found = read_directories(data)
    full = (one for one in found if not one.is_small and WIDTH in one.entries)
    return next(full, found[0] if found else None)


def _offset(data: bytes, order: str) -> int:
    return int(struct.unpack_from(order + "I", data, 4)[0]) if len(data) >= 8 else 0


def camera_raw(data: bytes) -> str | None:
    """What kind of camera raw a TIFF is, if it is one."""
    found = read_directories(data)
    if any(DNG_VERSION in one.entries for one in found):
        return "camera raw (DNG)"
    if data[8:10] == b"CR":
        return "camera raw (CR2)"
    if not any(one.number(PHOTOMETRIC, -1) in _SENSOR or CR2_SLICES in one.entries for one in found):
        return None
    makers = b" ".join(one.blob(MAKE) for one in found).lower()
    names = (name for maker, name in _RAW_BY_MAKER.items() if maker in makers)
    name = next(names, None)
    return "camera raw" if name is None else f"camera raw ({name})"


def _read(data: bytes, order: str, big: bool, at: int) -> Directory | None:
    count_code, entry_code, pointer = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    head, room = struct.calcsize(count_code), struct.calcsize(pointer)
    step = struct.calcsize(order + entry_code) + room
    if at < 8 or at + head > len(data):
        return None
    count = struct.unpack_from(order + count_code, data, at)[0]
    end = at + head + count * step
    if not 0 < count <= _MOST_ENTRIES or end > len(data):
        return None
    entries = dict(_entries(data, order + entry_code, pointer, range(at + head, end, step)))
    next_at = struct.unpack_from(order + pointer, data, end)[0] if end + room <= len(data) else 0
    return Directory(data, order, big, entries, next_at)


def _entries(data: bytes, code: str, pointer: str, places: range) -> Iterator[tuple[int, Entry]]:
    room = struct.calcsize(pointer)
    for at in places:
        tag, kind, count = struct.unpack_from(code, data, at)
        start = at + struct.calcsize(code)
        if count * _LENGTHS.get(kind, 0) > room:
            start = struct.unpack_from(code[0] + pointer, data, start)[0]
        yield tag, Entry(kind, count, start)


# --- one directory as a file of its own ---------------------------------------------------------------------


def alone(directory: Directory) -> bytes:
    """The file as a classic TIFF that has this directory only: its pixels stay where they are."""
    data, order = directory.data, directory.order
    whole = bytearray(data)
    whole[:4] = b"II*\0" if order == "<" else b"MM\0*"
    entries = b""
    for tag, entry in sorted(directory.entries.items()):
        kind, content = _narrow(directory, tag, entry)
        if tag == INSIDE or not content or len(content) < entry.count:
            continue
        if len(content) > 4:
            whole += b"\0" * (len(whole) % 2)
            content, place = struct.pack(order + "I", len(whole)), content
            whole += place
        entries += struct.pack(order + "HHI", tag, kind, entry.count) + content.ljust(4, b"\0")
    whole += b"\0" * (len(whole) % 2)
    struct.pack_into(order + "I", whole, 4, len(whole))
    return bytes(whole + struct.pack(order + "H", len(entries) // 12) + entries + bytes(4))


def _narrow(directory: Directory, tag: int, entry: Entry) -> tuple[int, bytes]:
    """Type and bytes of a tag; 8-byte integers, which only big files have, as 4 bytes."""
    if entry.kind not in (16, 18):
        return entry.kind, directory.blob(tag)
    values = [min(value, 0xFFFFFFFF) for value in directory.numbers(tag)]
    return 4, struct.pack(f"{directory.order}{len(values)}I", *values)
