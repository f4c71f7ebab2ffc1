"""What registering and embedding are made of: the roof wires the real things, tests wire the toy model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sightline.indexer.items import MAX_BYTES
from sightline.indexer.settings import IndexerSettings

if TYPE_CHECKING:
    from sightline.blip.measured import Measured
    from sightline.blip.patch_formats import PatchFormats
    from sightline.blip.protocols import Encoder
    from sightline.errors import ImageRejected
    from sightline.imaging import Decoded
    from sightline.indexer.originals import Originals
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.codec_verdicts import CodecVerdict
    from sightline.store.records import Collection
    from sightline.store.segments import SegmentReader


class Decoder(Protocol):
    """Bytes to pictures, safely; ``imaging.IsolatedDecoder`` is one."""

    def decode_many(self, data: Sequence[bytes]) -> Iterable[Decoded | ImageRejected]: ...


class Models(Protocol):
    """The model that a collection is bound to."""

    def encoder(self, collection: Collection) -> Encoder: ...


class Send(Protocol):
    """Tell the workers about tasks; raises UnavailableError when nobody can be told."""

    def __call__(self, task_ids: Sequence[int]) -> None: ...


class Queue(Send, Protocol):
    """What the builder needs of the queue beyond sending."""

    def depth(self) -> int | None: ...


class Note(Protocol):
    """A worker among others; ``store.worker_notes.WorkerNote`` is one."""

    def workers_here(self) -> int: ...

    def write(self, counted: Mapping[str, float]) -> None: ...


class CodecChoice(Protocol):
    """Measures what a collection's patches are to be kept in; ``upkeep.codec_choice.CodecChoice`` is one."""

    def choose(self, collection: Collection, beat: Callable[[], None]) -> CodecVerdict: ...


class WebPictures(Protocol):
    """Pictures on the web; ``fetching.client.Fetcher`` is one."""

    def fetch_patiently(self, url: str) -> bytes: ...


@dataclass(frozen=True)
class IndexerParts:
    """Everything that registering and embedding touch."""

    catalog: Catalog
    blobs: BlobStore
    originals: Originals
    segments: SegmentReader
    formats: PatchFormats
    decoder: Decoder
    models: Models
    settings: IndexerSettings = field(default_factory=IndexerSettings)
    max_bytes: int = MAX_BYTES
    """Bytes of one picture of a source, at most."""
    own_folders: Sequence[str] = ()
    """Folders and URLs where this installation keeps its files: never taken for pictures."""
    fetcher: WebPictures | None = None
    """None: pictures on the web are not fetched."""
    measured: Measured | None = None
    """What was found out about models on this class of machine; None: nothing is measured or kept."""
    note: Note | None = None
    """What a worker says of itself while it runs; None: it is alone."""
    codec_choice: CodecChoice | None = None
    """Chooses where ``patch_codec`` is ``auto``; None: it stays fp16."""
    decoders: int = 1
    """Processes in which ``decoder`` works."""
    send: Send | None = None
    """None: no queue; the work waits for ``run_pending`` in some process."""

    @property
    def fetch(self) -> Callable[[str], bytes] | None:
        """Gives pictures on the web, where they are fetched."""
        return None if self.fetcher is None else self.fetcher.fetch_patiently
