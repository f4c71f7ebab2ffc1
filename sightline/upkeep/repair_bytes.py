"""Originals fetched again from where they came from, and thumbnails made again from originals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import ImageRejected
from sightline.upkeep.stored_bytes import candidates

if TYPE_CHECKING:
    from sightline.imaging import IsolatedDecoder
    from sightline.indexer.originals import Originals
    from sightline.store.blobs import BlobStore
    from sightline.types import OnProgress
    from sightline.upkeep.stored_bytes import Damage, StoredBytes, What


@dataclass(frozen=True)
class RepairedBytes:
    """What became of one damaged original or thumbnail. ``problem``: why it was left as it is."""

    what: What
    name: str
    sha256: str
    problem: str | None = None


class BytesRepair:
    """Repairs what `StoredBytes` finds. What lies outside of our store is its owner's and left alone."""

    def __init__(
        self, found: StoredBytes, blobs: BlobStore, originals: Originals, decoder: IsolatedDecoder
    ) -> None:
        self._found = found
        self._blobs = blobs
        self._originals = originals
        self._decoder = decoder

    def run(self, show: OnProgress | None = None) -> Iterator[RepairedBytes]:
        """Every damaged original, then thumbnail, of every content; tells as it goes."""
        for damage in self._found.damages("stored", show=show):
            if damage.what == "original":
                yield _told(damage, self._original(damage))
            elif damage.what == "thumbnail":
                yield _told(damage, self._thumbnail(damage))

    def _original(self, damage: Damage) -> str | None:
        """Read it where it came from, if that still has these very bytes."""
        for address in candidates(damage.holders):
            try:
                self._blobs.put(self._originals.read_checked(address, damage.sha256))
            except ImageRejected:
                continue
            return None
        return f"{damage.detail}, and no source has these bytes any more: add the picture again"

    def _thumbnail(self, damage: Damage) -> str | None:
        try:
            data = self._original_bytes(damage)
            self._blobs.put_thumbnail(damage.sha256, self._decoder.decode(data).thumbnail)
        except ImageRejected as error:
            return f"{damage.detail}, and it cannot be made again: {error.detail.rstrip('.')}"
        return None

    def _original_bytes(self, damage: Damage) -> bytes:
        """The first sound copy, in our store or elsewhere. Raises ImageRejected when there is none."""
        addresses = dict.fromkeys([*(holder.uri for holder in damage.holders), *candidates(damage.holders)])
        refused: ImageRejected | None = None
        for address in addresses:
            try:
                return self._originals.read_checked(address, damage.sha256)
            except ImageRejected as error:
                refused = refused or error
        assert refused is not None  # every holder has an address
        raise refused


def _told(damage: Damage, problem: str | None) -> RepairedBytes:
    return RepairedBytes(damage.what, damage.holders[0].name, damage.sha256, problem)
