"""HEIF (HEIC), read by libheif at full depth: the primary picture, turned and cropped as its boxes say."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageFile

from sightline.errors import ImageRejected
from sightline.imaging.cicp import light_of_cicp
from sightline.imaging.lengths import content_is_cut
from sightline.imaging.lit import eight_bits
from sightline.imaging.pillow import put
from sightline.imaging.profiles import light_of_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL._imaging import PixelAccess

    from sightline.imaging.profiles import Light

_CHANNELS: Final = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def open_heif(data: bytes) -> HeifFile:
    """The primary picture, not loaded yet.

    Raises:
        ImageRejected: bytes of its pixels are missing, which libheif would take for grey.
    """
    if content_is_cut(data):
        raise ImageRejected("truncated", "The HEIF file ends before the last of its boxes does.")
    return HeifFile(BytesIO(data))


class HeifFile(ImageFile.ImageFile):
    """The primary picture. libheif applies `irot`, `imir` and `clap`; nothing else says which way is up."""

    format = "HEIF"
    format_description = "HEIF container"

    def _open(self) -> None:
        _use_one_thread()
        from pillow_heif import HeifFile as Container

        assert self.fp is not None
        make: Any = Container
        container = make(self.fp.read(), convert_hdr_to_8bit=False, hdr_to_16bit=True)
        self._picture = container[container.primary_index]
        self._said: dict[str, Any] = self._picture.info
        mode, _, deep = self._picture.mode.partition(";")
        mode = {"I": "L"}.get(mode, mode)
        if mode not in _CHANNELS:
            raise ImageRejected("unsupported", f"HEIF pictures of the kind {mode} are not supported.")
        self._bits = int(self._said.get("bit_depth", 8)) if deep else 8
        self._mode, self._size = mode, self._picture.size
        if profile := self._said.get("icc_profile"):
            self.info["icc_profile"] = profile
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size))]

    def load(self) -> PixelAccess | None:
        if self.tile:
            samples = self._samples()
            light = self._light()
            if light is None and self._bits == 8:
                put(self, Image.fromarray(samples if samples.shape[-1] > 1 else samples[..., 0]))
            else:
                put(self, eight_bits(samples, self._bits, light))
            if light is not None:
                self.info.pop("icc_profile", None)
            if self._picture.premultiplied_alpha and self.mode == "RGBA":
                put(self, Image.frombytes("RGBa", self.size, self.tobytes()).convert("RGBA"))
            del self._picture
        return super().load()

    def _light(self) -> Light | None:
        """What becomes of the samples here; a profile of 8 bits is followed later, by littlecms."""
        if profile := self.info.get("icc_profile"):
            colours = 1 if self.mode in ("L", "LA") else 3
            return light_of_profile(profile, colours) if self._bits > 8 else None
        said: dict[str, int] = self._said.get("nclx_profile") or {}
        return light_of_cicp(said.get("color_primaries", 2), said.get("transfer_characteristics", 2))

    def _samples(self) -> NDArray[Any]:
        """[H, W, C] as decoded: uint8, or uint16 whose highest bits are used."""
        import numpy as np

        declared = self.size
        values: NDArray[Any] = np.asarray(self._picture)
        channels = _CHANNELS[self.mode]
        if values.shape[1::-1] != declared:  # limits were judged by what the header said
            detail = f"The HEIF file says {declared[0]} × {declared[1]} pixels and holds others."
            raise ImageRejected("unreadable", detail)
        return values.reshape(*values.shape[:2], channels)


def _use_one_thread() -> None:
    """One thread, and nothing beside the picture: depth maps and gain maps are pictures of their own."""
    from pillow_heif import options

    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
