"""The work on one leased task between taking and publishing it: read, check, copy, decode, encode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, TypeVar

from sightline.errors import ImageRejected, ModelMismatchError
from sightline.faultpoint import faultpoint
from sightline.indexer.embedding.batch import Batch, Picture
from sightline.indexer.embedding.clock import EmbedClock
from sightline.indexer.embedding.copies import embedded_before
from sightline.indexer.embedding.encoding import finite_rows, to_pixels
from sightline.indexer.embedding.format_choice import choose_format
from sightline.indexer.originals import in_chunks

if TYPE_CHECKING:
    from sightline.blip.patch_formats import PackedPatches
    from sightline.blip.protocols import Encoder
    from sightline.indexer.embedding.picture_encoder import PictureEncoder
    from sightline.indexer.heartbeat import Heartbeat
    from sightline.indexer.parts import IndexerParts
    from sightline.store.records import Image
    from sightline.store.work_records import Lease
    from sightline.types import Half

T = TypeVar("T")
Pictures = list[tuple[str, Picture]]
"""Contents by SHA-256."""


class LeasedBatch:
    """One task of one worker: while the model computes, the next originals are read, decoded and made pixels.

    ``preparer`` (one thread) does that, ``writers`` keep thumbnails; ``finish`` waits for both.
    """

    def __init__(
        self,
        parts: IndexerParts,
        lease: Lease,
        heartbeat: Heartbeat,
        *,
        preparer: Executor,
        writers: Executor,
        pictures: PictureEncoder,
    ) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._collection = lease.collection
        self._heartbeat = heartbeat
        self._preparer = preparer
        self._writers = writers
        self._pictures, self._job_id, self._has_begun = pictures, lease.job_id, False
        self._written: list[Future[None]] = []
        form = choose_format(parts, lease.collection, heartbeat)
        self._batch = Batch(lease.images, form, dict(embedded_before(parts, lease, form)))

    def finish(self) -> Batch:
        """Every picture of the task with its tokens, or with the reason why it has none.

        Raises:
            LeaseLostError: somebody else has the task by now.
        """
        waiting: Pictures = []
        for fresh in one_ahead(self._preparer, self._prepared(), self._pictures.clock):
            waiting += fresh
            self._encode(waiting, last=False)
        self._encode(waiting, last=True)
        for thumbnail in self._written:
            thumbnail.result()
        self._heartbeat.check()
        return self._batch

    def _prepared(self) -> Iterator[Pictures]:
        """Chunk by chunk, the contents that have to pass the model, with their pixels."""
        settings = self._settings
        most, most_bytes = settings.decode_chunk_images, settings.decode_chunk_bytes
        for chunk in in_chunks(self._batch.images, most=most, most_bytes=most_bytes):
            self._heartbeat.check()
            fresh = self._read(chunk)
            faultpoint("embed.read")
            yield self._decode(fresh) if fresh else []

    def _read(self, chunk: Sequence[Image]) -> dict[str, bytes]:
        """Read and check the originals; the contents that no segment has yet, by SHA-256."""
        fresh: dict[str, bytes] = {}
        for image in chunk:
            try:
                data = self._parts.originals.read(image)
            except ImageRejected as rejected:
                self._batch.refused[image.key] = rejected
                continue
            if self._batch.unknown(image):
                fresh[image.sha256] = data
        return fresh

    def _decode(self, fresh: dict[str, bytes]) -> Pictures:
        encoder = self._encoder()
        decoded = self._parts.decoder.decode_many(list(fresh.values()))
        pictures: Pictures = []
        thumbnails: list[tuple[str, bytes]] = []
        # One by one: each is made small before the next is asked for, so that few are in memory at a time.
        for sha256, found in zip(fresh, decoded, strict=True):
            self._heartbeat.check()
            if isinstance(found, ImageRejected):
                self._batch.pictures[sha256] = found
                continue
            thumbnails.append((sha256, found.thumbnail))
            picture = Picture(found.width, found.height, pixels=to_pixels(encoder, [found.rgb]))
            self._batch.pictures[sha256] = picture
            pictures.append((sha256, picture))
        faultpoint("embed.decoded")
        self._written.append(self._writers.submit(self._keep, thumbnails))
        return pictures

    def _keep(self, thumbnails: Sequence[tuple[str, bytes]]) -> None:
        for sha256, data in thumbnails:
            self._parts.blobs.put_thumbnail(sha256, data)

    def _encode(self, waiting: Pictures, *, last: bool) -> None:
        """Pass full batches through the model, if ``last`` the rest too; what is done leaves ``waiting``."""
        while waiting:
            encoder = self._encoder()
            if not self._has_begun:
                self._pictures.begin(self._job_id, encoder)
                self._has_begun = True
            most = self._pictures.batch.size(encoder)
            part = waiting[:most]
            if len(part) < most and not last:
                return
            self._heartbeat.check()
            pixels = [picture.pixels for _, picture in part if picture.pixels is not None]
            try:
                tokens, packed = self._pictures.encode(encoder, pixels, self._batch.format)
            except RuntimeError as error:
                if not self._pictures.batch.shrink(error, len(part)):
                    raise
                continue
            faultpoint("embed.encoded")
            self._fill(part, tokens, packed)
            del waiting[: len(part)]

    def _fill(self, part: Pictures, tokens: Half, packed: PackedPatches) -> None:
        sound = finite_rows(tokens, packed)
        for row, (sha256, picture) in enumerate(part):
            picture.pixels = None
            picture.fill(tokens, packed, row)
            if not sound[row]:
                rejected = ImageRejected("internal", "The model's numbers are not finite.")
                self._batch.pictures[sha256] = rejected

    def _encoder(self) -> Encoder:
        with self._heartbeat.pulse.patience():
            encoder = self._parts.models.encoder(self._collection)
        if encoder.fingerprint != self._collection.fingerprint:
            name = self._collection.name
            raise ModelMismatchError(f"This worker's model is not that of the collection {name}.")
        return encoder


def one_ahead(executor: Executor, steps: Iterator[T], clock: EmbedClock) -> Iterator[T]:
    """``steps`` in their order, each computed by the executor while the one before it is in use.

    What a step raises is raised here, in its turn. The executor must have one thread. ``clock`` counts how
    long steps were waited for.
    """
    coming = executor.submit(next, steps, None)
    while True:
        with clock.waiting():
            step = coming.result()
        if step is None:
            return
        coming = executor.submit(next, steps, None)
        yield step
