"""What the indexer is given, as protocols: the roof wires the real things, tests wire the toy encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from sightline.indexer.codecs import PatchCodecs
from sightline.indexer.items import MAX_BYTES
from sightline.indexer.settings import IndexerSettings

if TYPE_CHECKING:
    from sightline.blip.protocols import Encoder
    from sightline.errors import ImageRejected
    from sightline.imaging import Decoded
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.store.segments import SegmentReader


class Decoder(Protocol):
    """Bytes to pictures, safely; ``imaging.IsolatedDecoder`` is one."""

    def decode_many(self, data: Sequence[bytes]) -> Sequence[Decoded | ImageRejected]: ...


class Models(Protocol):
    """Models by collection. Asking for the shape must not load weights."""

    def encoder(self, collection: Collection) -> Encoder: ...

    def patch_shape(self, collection: Collection) -> tuple[int, int]: ...


class Send(Protocol):
    """Tell the workers about tasks; raises UnavailableError when nobody can be told."""

    def __call__(self, task_ids: Sequence[int]) -> None: ...


class Queue(Send, Protocol):
    """What the builder needs of the queue beyond sending."""

    def depth(self) -> int | None: ...


@dataclass(frozen=True)
class IndexerServices:
    """Everything that registering and embedding touch."""

    catalog: Catalog
    blobs: BlobStore
    segments: SegmentReader
    decoder: Decoder
    models: Models
    settings: IndexerSettings = field(default_factory=IndexerSettings)
    max_bytes: int = MAX_BYTES
    """Bytes of one original, at most."""
    send: Send | None = None
    """None: no queue; the work waits for ``run_pending`` in some process."""

    @cached_property
    def codecs(self) -> PatchCodecs:
        """The fitted patch codecs, which lie beside the segments."""
        return PatchCodecs(self.segments.folder)
