"""Patches of stored images made again from their originals: read, decoded, encoded, a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sightline.errors import ImageRejected

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import Vision
    from sightline.imaging import Decoded
    from sightline.store.records import Image

ENCODE_AT_ONCE = 8
"""Originals that are decoded and encoded together: bounds the memory of one miss."""


class OriginalReader(Protocol):
    """The registered bytes of an image; raises ImageRejected (`indexer.originals.Originals`)."""

    def read(self, image: Image) -> bytes: ...


class Decoder(Protocol):
    """Bytes to pictures, safely; ``imaging.IsolatedDecoder`` is one."""

    def decode_many(self, data: Sequence[bytes]) -> Iterable[Decoded | ImageRejected]: ...


class Reencoded(NamedTuple):
    """``patches [n,P,V]`` of ``images``, on the model's device (None: none), and what was refused."""

    images: list[Image]
    patches: Tensor | None
    refused: list[tuple[Image, ImageRejected]]


class Reencoding:
    """Thread-safe when its parts are."""

    def __init__(self, originals: OriginalReader, decoder: Decoder) -> None:
        self._originals = originals
        self._decoder = decoder

    def encode(self, model: Vision, images: Sequence[Image]) -> Iterator[Reencoded]:
        """Patches of these images, at most `ENCODE_AT_ONCE` together.

        An original that cannot be read, has other bytes now, or cannot be decoded is refused; its neighbours
        are encoded without it.
        """
        for start in range(0, len(images), ENCODE_AT_ONCE):
            yield self._encode(model, images[start : start + ENCODE_AT_ONCE])

    def _encode(self, model: Vision, images: Sequence[Image]) -> Reencoded:
        import torch

        read: list[tuple[Image, bytes]] = []
        refused: list[tuple[Image, ImageRejected]] = []
        for image in images:
            try:
                read.append((image, self._originals.read(image)))
            except ImageRejected as error:
                refused.append((image, error))
        decoded = self._decoder.decode_many([data for _, data in read]) if read else ()
        good: list[Image] = []
        pixels: list[Tensor] = []
        for (image, _), picture in zip(read, decoded, strict=True):
            if isinstance(picture, ImageRejected):
                refused.append((image, picture))
            else:
                good.append(image)
                pixels.append(model.preprocess([picture.rgb]))  # far smaller, before the next is decoded
        if not good:
            return Reencoded([], None, refused)
        return Reencoded(good, model.encode_patches(torch.cat(pixels)), refused)
