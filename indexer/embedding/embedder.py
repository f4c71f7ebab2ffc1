"""Tasks of kind ``embed``: read, decode, encode, write one segment, publish it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from sightline.faultpoint import faultpoint
from sightline.indexer.embedding.batch import Batch, Picture, stacked
from sightline.indexer.embedding.leased_batch import LeasedBatch
from sightline.indexer.embedding.picture_encoder import PictureEncoder
from sightline.store.durable import publish_or_remove
from sightline.store.segments import write_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.indexer.heartbeat import Heartbeat
    from sightline.indexer.parts import IndexerParts
    from sightline.store.records import Image, NewSegment
    from sightline.store.work_records import Lease

THUMBNAIL_WRITERS = 4
"""Threads that write thumbnails while the model works: each waits for its disk or object store."""


class Embedder:
    """The handler of tasks that embed (`indexer.tasks.Handler`)."""

    def __init__(self, parts: IndexerParts) -> None:
        self._parts = parts
        self._catalog = parts.catalog
        self._pictures = PictureEncoder(parts)

    def work(self, lease: Lease, heartbeat: Heartbeat) -> bool:
        """Embed the images of a leased task and publish them; False when the lease was lost."""
        with (
            ThreadPoolExecutor(THUMBNAIL_WRITERS, "thumbnails") as writers,
            ThreadPoolExecutor(1, "prepare") as preparer,
        ):
            batch = LeasedBatch(
                self._parts,
                lease,
                heartbeat,
                preparer=preparer,
                writers=writers,
                pictures=self._pictures,
            ).finish()
            self._pictures.ended()
            return self._publish(lease, batch)

    def give_up(self, lease: Lease, reason: str, detail: str) -> bool:
        """Every image of the task has failed."""
        return self._catalog.publish(lease, None, [(image.key, reason, detail) for image in lease.images])

    def _publish(self, lease: Lease, batch: Batch) -> bool:
        rows, failures = batch.outcome()
        segment = self._write(rows, batch.format.codec) if rows else None
        sizes = {image.key: (picture.width, picture.height) for image, picture in rows}
        published = publish_or_remove(
            self._parts.segments.path(segment),
            lambda: self._catalog.publish(lease, segment, failures, sizes),
        )
        faultpoint("embed.published")
        return published

    def _write(self, rows: Sequence[tuple[Image, Picture]], codec: str) -> NewSegment:
        tokens, (patches, scales) = stacked(rows)
        keys = np.array([image.key for image, _ in rows], np.int64)
        return write_segment(self._parts.segments.folder, keys, tokens, patches, codec, scales)
