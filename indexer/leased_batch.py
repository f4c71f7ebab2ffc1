"""The work on one leased task between taking and publishing it: read, check, copy, decode, encode."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from base.errors import ImageRejected, ModelMismatchError
from indexer.batch import Batch, Picture
from indexer.codecs import chosen
from indexer.copies import embedded_before
from indexer.encoding import encode, finite_rows, to_pixels
from indexer.originals import in_chunks, read_original

if TYPE_CHECKING:
    from blip.protocols import Encoder
    from indexer.heartbeat import Heartbeat
    from indexer.services import IndexerServices
    from store.records import Image, Lease


class LeasedBatch:
    """One task of one worker. ``writers`` keep thumbnails meanwhile; ``finish`` waits for them."""

    def __init__(
        self, services: IndexerServices, lease: Lease, heartbeat: Heartbeat, writers: Executor
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._collection = lease.collection
        self._heartbeat = heartbeat
        self._writers = writers
        self._written: list[Future[None]] = []
        keeping = chosen(services, lease.collection)
        self._batch = Batch(lease.images, keeping, dict(embedded_before(services, lease, keeping)))

    def finish(self) -> Batch:
        """Every picture of the task with its tokens, or with the reason why it has none.

        Raises:
            LeaseLostError: somebody else has the task by now.
        """
        settings = self._settings
        most, most_bytes = settings.decode_chunk_images, settings.decode_chunk_bytes
        for chunk in in_chunks(self._batch.images, most=most, most_bytes=most_bytes):
            self._heartbeat.check()
            self._prepare(chunk)
        self._encode()
        for thumbnail in self._written:
            thumbnail.result()
        self._heartbeat.check()
        return self._batch

    def _prepare(self, chunk: Sequence[Image]) -> None:
        """Read and check the originals; decode the contents that no segment has yet."""
        fresh: dict[str, bytes] = {}
        for image in chunk:
            try:
                data = read_original(image, self._services.blobs, max_bytes=self._services.max_bytes)
            except ImageRejected as rejected:
                self._batch.refused[image.key] = rejected
                continue
            if self._batch.unknown(image):
                fresh[image.sha256] = data
        if fresh:
            self._decode(fresh)

    def _decode(self, fresh: dict[str, bytes]) -> None:
        encoder = self._encoder()
        decoded = self._services.decoder.decode_many(list(fresh.values()))
        for sha256, picture in zip(fresh, decoded, strict=True):
            if isinstance(picture, ImageRejected):
                self._batch.pictures[sha256] = picture
                continue
            keep = self._services.blobs.put_thumbnail
            self._written.append(self._writers.submit(keep, sha256, picture.thumbnail))
            pixels = to_pixels(encoder, [picture.rgb])
            self._batch.pictures[sha256] = Picture(picture.width, picture.height, pixels=pixels)

    def _encode(self) -> None:
        waiting = self._batch.to_encode()
        if not waiting:
            return
        self._heartbeat.check()
        pixels = [picture.pixels for _, picture in waiting if picture.pixels is not None]
        tokens, kept = encode(self._encoder(), pixels, self._batch.keeping)
        sound = finite_rows(tokens, kept)
        for row, (sha256, picture) in enumerate(waiting):
            picture.pixels = None
            picture.fill(tokens, kept, row)
            if not sound[row]:
                rejected = ImageRejected("internal", "the model's numbers are not finite.")
                self._batch.pictures[sha256] = rejected

    def _encoder(self) -> Encoder:
        encoder = self._services.models.encoder(self._collection)
        if encoder.fingerprint != self._collection.fingerprint:
            name = self._collection.name
            raise ModelMismatchError(f"this worker's model is not that of the collection {name}.")
        return encoder
