"""AVIF as its boxes describe it: aperture, orientation, colours, and alpha as older writers stored it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Final

from PIL import AvifImagePlugin

from sightline.imaging.cicp import light_of_cicp
from sightline.imaging.lit import in_srgb
from sightline.imaging.pillow import put

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

    from sightline.imaging.profiles import Light

_MOST_ITEMS: Final = 65_536
_CLAP: Final = struct.Struct(">IIIIiIiI")


@dataclass(frozen=True)
class Box:
    """One box: its kind, and where its content lies in the file."""

    kind: bytes
    start: int
    end: int


@dataclass
class Items:
    """What the box `meta` says: the main item, all properties, and which item has which."""

    meta: Box
    primary: int
    properties: list[Box]
    links: dict[int, list[int]]
    """Item → numbers of its properties, from 1; the bit 0x8000 means essential."""

    def property_of(self, item: int, kind: bytes) -> int | None:
        """The number of the item's first property of a kind."""
        used = (link & 0x7FFF for link in self.links.get(item, []))
        return next(
            (
                one
                for one in used
                if 0 < one <= len(self.properties) and self.properties[one - 1].kind == kind
            ),
            None,
        )


def open_avif(data: bytes) -> AvifImagePlugin.AvifImageFile:
    """The picture, not loaded yet."""
    items = read_items(data)
    opened = ClaimedAvif(BytesIO(data if items is None else _with_sized_alpha(data, items)))
    if items is not None:
        opened.aperture = _aperture(data, items, opened.size)
        opened.light = _light(data, items)
    if "exif" not in opened.info:
        opened.info.pop("xmp", None)  # its orientation does not count: the file's own properties do
    return opened


class ClaimedAvif(AvifImagePlugin.AvifImageFile):
    """Pillow turns and mirrors as the file says, but neither crops nor follows colours told by numbers."""

    aperture: tuple[int, int, int, int] | None = None
    light: Light | None = None

    def load(self) -> PixelAccess | None:
        access = super().load()
        (box, self.aperture), (light, self.light) = (self.aperture, None), (self.light, None)
        if box is not None:
            put(self, self.crop(box))
        if light is not None and "icc_profile" not in self.info:
            put(self, in_srgb(self, light))
        return access if box is None and light is None else super().load()


# --- boxes --------------------------------------------------------------------------------------------------


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places; ends at the first one that makes no sense."""
    while start + 8 <= end:
        length, head = int.from_bytes(data[start : start + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        stop = end if length == 0 else start + length
        if stop > end or (length and length < head):
            return
        yield Box(data[start + 4 : start + 8], start + head, stop)
        start = stop


def _child(data: bytes, kind: bytes, start: int, end: int) -> Box | None:
    return next((one for one in boxes(data, start, end) if one.kind == kind), None)


def read_items(data: bytes) -> Items | None:
    """What the file says about its items; None when it cannot be read."""
    meta = _child(data, b"meta", 0, len(data))
    if meta is None:
        return None
    primary = _child(data, b"pitm", meta.start + 4, meta.end)
    properties = _child(data, b"iprp", meta.start + 4, meta.end)
    if primary is None or properties is None:
        return None
    listed = _child(data, b"ipco", properties.start, properties.end)
    linked = _child(data, b"ipma", properties.start, properties.end)
    if listed is None or linked is None:
        return None
    width = 4 if data[primary.start] else 2
    item = int.from_bytes(data[primary.start + 4 : primary.start + 4 + width], "big")
    try:
        links = _read_links(data, linked)
    except IndexError:
        return None
    return Items(meta, item, list(boxes(data, listed.start, listed.end)), links)


def _read_links(data: bytes, box: Box) -> dict[int, list[int]]:
    id_bytes, wide = 4 if data[box.start] else 2, data[box.start + 3] & 1
    links: dict[int, list[int]] = {}
    at = box.start + 8
    for _ in range(min(int.from_bytes(data[box.start + 4 : at], "big"), _MOST_ITEMS)):
        item, count = int.from_bytes(data[at : at + id_bytes], "big"), data[at + id_bytes]
        at += id_bytes + 1
        links[item] = []
        for _ in range(count):
            if at + wide >= box.end:
                raise IndexError
            value = int.from_bytes(data[at : at + 1 + wide], "big")
            links[item].append(value if wide else (value & 0x7F) | (value & 0x80) << 8)
            at += 1 + wide
    return links


# --- what is done about them --------------------------------------------------------------------------------


def _aperture(data: bytes, items: Items, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The clean aperture in pixels; None when there is none, or one that goes beyond the picture."""
    number = items.property_of(items.primary, b"clap")
    if number is None:
        return None
    box = items.properties[number - 1]
    if box.end - box.start < _CLAP.size:
        return None
    values = _CLAP.unpack_from(data, box.start)
    if not all(values[1::2]):
        return None
    width, height, across, down = (Fraction(values[at], values[at + 1]) for at in range(0, 8, 2))
    left = Fraction(size[0] - 1, 2) + across - (width - 1) / 2
    top = Fraction(size[1] - 1, 2) + down - (height - 1) / 2
    edges = tuple(round(edge) for edge in (left, top, left + width, top + height))
    if not (0 <= edges[0] < edges[2] <= size[0] and 0 <= edges[1] < edges[3] <= size[1]):
        return None
    return edges[0], edges[1], edges[2], edges[3]


def _light(data: bytes, items: Items) -> Light | None:
    """What the main item's numbers say about its colours."""
    used = (link & 0x7FFF for link in items.links.get(items.primary, []))
    named = (items.properties[one - 1] for one in used if 0 < one <= len(items.properties))
    colours = (data[one.start : one.end] for one in named if one.kind == b"colr")
    said = next((one for one in colours if one[:4] == b"nclx" and len(one) >= 8), None)
    if said is None:
        return None
    return light_of_cicp(int.from_bytes(said[4:6], "big"), int.from_bytes(said[6:8], "big"))


def _with_sized_alpha(data: bytes, items: Items) -> bytes:
    """Older writers gave the alpha item no size, and libavif insists on one: it gets that of the picture.

    The old description becomes free space and the new one goes to the end: nothing else moves.
    """
    size = items.property_of(items.primary, b"ispe")
    bare = [
        item
        for item in items.links
        if items.property_of(item, b"auxC") is not None and items.property_of(item, b"ispe") is None
    ]
    if size is None or not bare or len(items.properties) > 0x7FFF:
        return data
    for item in bare:
        items.links[item].insert(0, size)
    parts = []
    for one in boxes(data, items.meta.start + 4, items.meta.end):
        body = data[one.start : one.end]
        parts.append(_box(one.kind, _new_properties(data, one, items) if one.kind == b"iprp" else body))
    new = _box(b"meta", data[items.meta.start : items.meta.start + 4] + b"".join(parts))
    kind_at = data.rindex(b"meta", 0, items.meta.start)
    return data[:kind_at] + b"free" + data[kind_at + 4 :] + new


def _new_properties(data: bytes, box: Box, items: Items) -> bytes:
    links = b"".join(
        struct.pack(">IB", item, len(used)) + struct.pack(f">{len(used)}H", *used)
        for item, used in items.links.items()
    )
    kept = (one for one in boxes(data, box.start, box.end) if one.kind != b"ipma")
    listed = b"".join(_box(one.kind, data[one.start : one.end]) for one in kept)
    return listed + _box(b"ipma", b"\1\0\0\1" + struct.pack(">I", len(items.links)) + links)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body
