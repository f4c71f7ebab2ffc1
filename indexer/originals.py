"""Originals by their address, checked against the bytes that were registered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sightline.indexer.items import MAX_BYTES
from sightline.indexer.opened_originals import OpenedOriginal, Opener, changed
from sightline.indexer.sources.listing import read_uri

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore
    from sightline.store.records import Image


class Originals:
    """The bytes of registered images, wherever they lie. Thread-safe."""

    def __init__(self, blobs: BlobStore, max_bytes: int = MAX_BYTES) -> None:
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._opener = Opener(blobs, max_bytes)

    def open(self, image: Image) -> OpenedOriginal:
        """The registered bytes of an image that is not remote, to be read in pieces. Raises as `read`."""
        return self._opener.open(image.uri, image.sha256)

    def read(self, image: Image, *, allow_remote: bool = True) -> bytes:
        """The registered bytes of an image. Its address was checked when it was registered.

        Raises:
            ImageRejected: ``unreadable``, ``too_many_bytes``, or ``changed`` when it has other bytes now.
        """
        return self.read_checked(image.uri, image.sha256, allow_remote=allow_remote)

    def read_checked(self, uri: str, sha256: str, *, allow_remote: bool = True) -> bytes:
        """The bytes at an address, which are those that were registered. Raises as `read`."""
        data = read_uri(uri, self._blobs, max_bytes=self._max_bytes, allow_remote=allow_remote)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise changed(uri)
        return data


def in_chunks(images: Sequence[Image], *, most: int, most_bytes: int) -> Iterator[list[Image]]:
    """Neighbours of at most ``most`` members and ``most_bytes`` together; one image may exceed that alone."""
    chunk: list[Image] = []
    size = 0
    for image in images:
        if chunk and (len(chunk) == most or size + image.bytes > most_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(image)
        size += image.bytes
    if chunk:
        yield chunk
