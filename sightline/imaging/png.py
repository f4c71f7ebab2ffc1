"""PNG as its chunks describe it, where Pillow reads them otherwise or loses depth."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, PngImagePlugin

from sightline.errors import ImageRejected
from sightline.imaging.depth import bands
from sightline.imaging.pillow import put
from sightline.imaging.profiles import Light, light_of_gamma, light_of_profile, to_srgb8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL._imaging import PixelAccess

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KEPT: Final = frozenset(
    (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"gAMA", b"sRGB", b"eXIf", b"iTXt")
)
"""Chunks that say something about the pixels. Frames of an animation are not among them: the still picture
counts. Texts, of which only XMP is read, may be bombs."""
_XMP: Final = b"XML:com.adobe.xmp\0"
_MAX_PROFILE: Final = 1 << 20
"""Bytes of a profile, unpacked; larger ones are ignored, like broken ones."""
_AT_ONCE: Final = 1 << 20
"""Bytes that are unpacked at a time to count them."""
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7: Final = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)
)  # fmt: skip
"""First row and column of each pass, and the steps to the next ones."""
_TRANSFER_LINEAR: Final = 8
_TRANSFER_HDR: Final[dict[int | None, str]] = {16: "PQ", 18: "HLG"}


def open_png(data: bytes) -> PngImagePlugin.PngImageFile:
    """The picture, not loaded yet.

    Raises:
        ImageRejected: it is a kind of PNG that is not supported.
    """
    kept, transfer = [_SIGNATURE], None
    for kind, whole in _chunks(data):
        if kind == b"cICP" and len(whole) >= 16:
            transfer = whole[9]
        elif kind in _KEPT and _is_harmless(kind, whole):
            kept.append(bytes(whole))
    if name := _TRANSFER_HDR.get(transfer):
        raise ImageRejected(
            "unsupported", f"PNG pictures with high dynamic range ({name}) are not supported."
        )
    opened = ClaimedPng(BytesIO(b"".join(kept)))
    opened.is_linear = transfer == _TRANSFER_LINEAR
    return opened


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and all bytes of each chunk; the last one may be cut off."""
    view, at = memoryview(data), len(_SIGNATURE)
    while at < len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        kind = bytes(view[at + 4 : at + 8])
        yield kind if len(kind) == 4 else b"IDAT", view[at : at + 12 + length]
        if kind == b"IEND":
            return
        at += 12 + length


def _is_harmless(kind: bytes, whole: memoryview) -> bool:
    if kind == b"iTXt":
        return bytes(whole[8 : 8 + len(_XMP)]) == _XMP and len(whole) < _MAX_PROFILE
    if kind != b"iCCP":
        return True
    _, _, packed = bytes(whole[8:-4]).partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        return len(unpacking.decompress(packed[1:], _MAX_PROFILE)) < _MAX_PROFILE and unpacking.eof
    except zlib.error:
        return False


class ClaimedPng(PngImagePlugin.PngImageFile):
    """Keys at the depth of the samples, gamma, and profiles before 16 bits become 8."""

    is_linear = False
    """Whether a chunk cICP says that the samples are linear light."""

    def _open(self) -> None:
        super()._open()
        if self.fp is None or (self.mode == "P" and self.palette is None):
            raise ImageRejected("unreadable", "The PNG file has no palette for its pixels.")
        place = self.fp.tell()
        self.fp.seek(24)
        self._depth = self.fp.read(1)[0]
        self.fp.seek(place)
        key = self.info.get("transparency")
        if self.mode == "L" and isinstance(key, int):
            top = (1 << self._depth) - 1
            self.info["transparency"] = (key & top) * 255 // top
        if self.mode == "RGB" and self._depth == 8 and isinstance(key, tuple):
            self.info["transparency"] = tuple(value & 255 for value in key)

    def load(self) -> PixelAccess | None:
        if not self.tile:
            return super().load()
        whole = self._whole()
        access = super().load()
        if self._may_lack_rows() and _lacks_samples(whole):
            raise ImageRejected("truncated", "The PNG file has fewer rows of pixels than its header says.")
        light = self._light()
        deep_colour = self.mode in ("RGB", "RGBA") and self._depth == 16
        if deep_colour and (light or "transparency" in self.info):
            with _low_bytes(whole) as low:
                self._become(light, low)
        elif light and self.mode == "I;16":
            self._become(light, None)
        elif light:
            self._become_lit(light)
        return access if light is None else super().load()

    def _whole(self) -> bytes:
        return self.fp.getvalue() if isinstance(self.fp, BytesIO) else b""

    def _may_lack_rows(self) -> bool:
        """Pillow leaves rows black whose data are missing at the end of a stream that is whole in itself."""
        bottom = self.crop((0, max(0, self.height - 2), self.width, self.height))
        rows = [bottom.crop((0, row, self.width, row + 1)).tobytes() for row in range(bottom.height)]
        return any(not any(row) for row in rows)

    def _light(self) -> Light | None:
        """What is said about light and what littlecms, given 8 bits, would not get right."""
        channels = 1 if self.mode in ("1", "L", "I;16", "LA") else 3
        profile = self.info.get("icc_profile")
        if isinstance(profile, bytes):
            return light_of_profile(profile, channels) if self._depth == 16 and self.mode != "LA" else None
        if self.is_linear:
            return light_of_gamma(1.0, channels)
        if "srgb" in self.info:
            return None
        gamma = self.info.get("gamma")
        return light_of_gamma(gamma, channels) if isinstance(gamma, float) else None

    def _become(self, light: Light | None, low: Image.Image | None) -> None:
        """Replace the loaded picture by its 16-bit samples as 8 bits; ``low`` has their low bytes."""
        import numpy as np

        key = self.info.pop("transparency", None)
        picture: Image.Image | None = None
        for rows in bands(self.height, self.width * self.height):
            box = (0, rows.start, self.width, rows.stop)
            samples = _array(self.crop(box))
            if low is not None:
                samples = np.left_shift(samples.astype(np.uint16), 8) | _array(low.crop(box))
            part = _eight(samples if samples.ndim == 3 else samples[..., None], light, key)
            picture = picture or Image.new(part.mode, self.size)
            picture.paste(part, box)
        if picture is not None:
            put(self, picture)
        if light:
            self.info.pop("icc_profile", None)

    def _become_lit(self, light: Light) -> None:
        """8-bit pictures: the curve as a table."""
        import numpy as np

        table = to_srgb8((np.arange(256, dtype=np.uint16) * 257)[None, :, None], Light(light.curves[:1]))[
            0, :, 0
        ]
        clear = self.has_transparency_data
        grey = self.mode in ("1", "L", "LA")
        mode = ("LA" if clear else "L") if grey else ("RGBA" if clear else "RGB")
        tables = [*table.tolist()] * (1 if grey else 3) + (list(range(256)) if clear else [])
        lit = self.convert(mode).point(tables)
        self.info.pop("transparency", None)
        put(self, lit)


def _low_bytes(whole: bytes) -> Image.Image:
    """The low bytes of 16-bit colours: what Pillow takes for the high ones in the other byte order."""
    again = PngImagePlugin.PngImageFile(BytesIO(whole))
    tile = again.tile[0]
    again.tile = [tile._replace(args=str(tile.args).replace("16B", "16L"))]
    again.load()
    return again


def _eight(samples: NDArray[np.uint16], light: Light | None, key: Any) -> Image.Image:
    """[H, W, C] 16-bit samples as a picture; those that equal ``key`` are transparent."""
    import numpy as np

    colours = samples[..., :3]
    parts = [to_srgb8(colours, light) if light else ((colours.astype("u4") + 128) // 257).astype(np.uint8)]
    if key is not None:
        clear = (colours == np.array(key, np.uint16)).all(-1, keepdims=True)
        parts.append(np.where(clear, 0, 255).astype(np.uint8))
    elif samples.shape[-1] == 4:
        parts.append(np.right_shift(samples[..., 3:], 8).astype(np.uint8))
    joined = np.concatenate(parts, -1)
    return Image.fromarray(joined[..., 0] if joined.shape[-1] == 1 else joined)


def _lacks_samples(data: bytes) -> bool:
    """Whether the chunks IDAT unpack to fewer bytes than the header needs."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    depth, colour, interlace = data[24], data[25], data[28]
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    missing = 0
    for top, left, down, across in passes:
        rows, columns = -(-(height - top) // down), -(-(width - left) // across)
        if rows > 0 and columns > 0:
            missing += rows * (1 + -(-columns * depth * _CHANNELS[colour] // 8))
    unpacking = zlib.decompressobj()
    for kind, whole in _chunks(data):
        rest: bytes | memoryview = whole[8:-4] if kind == b"IDAT" else b""
        while len(rest) and missing > 0 and not unpacking.eof:
            try:
                missing -= len(unpacking.decompress(rest, _AT_ONCE))
            except zlib.error:  # behind the last row, or Pillow would have found it
                return False
            rest = unpacking.unconsumed_tail
    return missing > 0


def _array(image: Image.Image) -> NDArray[np.uint16]:
    import numpy as np

    array: NDArray[np.uint16] = np.asarray(image)
    return array
