"""In which form the patches of new images are stored.

``latent`` needs a codec fitted to the model's patches. Until the collection has a sample to fit one on, new
images are stored in fp16; the builder rewrites those later (indexer/building/recoding.py). A model that
cannot say what its cross-attention sees has none: its patches are stored in int8. ``auto`` is fp16 until the
collection is large; what it is then, one worker measures.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sightline.blip.patch_formats import PatchFormat
from sightline.errors import CorruptionError, NotFoundError
from sightline.indexer.names import worker_name
from sightline.store.codec_verdicts import CodecVerdicts
from sightline.store.durable import FileMissingError
from sightline.types import AUTO_CODEC, FP16, INT8, LATENT

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.patch_codec import PatchCodec
    from sightline.indexer.heartbeat import Heartbeat
    from sightline.indexer.parts import IndexerParts
    from sightline.store.records import Collection, Snapshot
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)

CHOOSING_SECONDS = 3600.0
"""How long a worker may take to choose a codec before another may try."""
_AT_ONCE = 32
"""Images that are read together: 23 MB of ViT-g patches in fp16."""


def choose_format(parts: IndexerParts, collection: Collection, heartbeat: Heartbeat) -> PatchFormat:
    """The form for new images of a collection; fits the latent once there is a sample to fit it on.

    Two workers that fit at the same time write two codecs; both stay valid, and the later one is used on.
    """
    settings = parts.settings
    if settings.patch_codec == AUTO_CODEC:
        return _automatic(parts, collection, heartbeat)
    if settings.patch_codec != LATENT:
        return PatchFormat(settings.patch_codec)
    known = parts.formats.newest(collection.fingerprint)
    if known is not None:
        return known
    snapshot = parts.catalog.snapshot(collection.name)
    if sum(segment.count for segment in snapshot.segments if segment.codec == FP16) < settings.codec_sample:
        return PatchFormat(FP16)
    fitted = _fit_latent(parts, snapshot)
    if fitted is None:
        log.warning("no patch codec for this model; int8 is used", extra={"collection": collection.name})
        return PatchFormat(INT8)
    log.info("patch codec fitted", extra={"codec": fitted.id, "images": fitted.images})
    return parts.formats.add(fitted)


def _automatic(parts: IndexerParts, collection: Collection, heartbeat: Heartbeat) -> PatchFormat:
    """What was chosen; of a collection that has just become large, one worker chooses, the others go on."""
    verdict = CodecVerdicts(parts.segments.folder).find(collection)
    if verdict is None and parts.codec_choice is not None and _is_large(parts, collection):
        owner, name = worker_name(), f"codec of collection {collection.id}"
        if parts.catalog.acquire_singleton(name, owner, CHOOSING_SECONDS):
            try:
                verdict = parts.codec_choice.choose(collection, heartbeat.check)
            finally:
                parts.catalog.release_singleton(name, owner)
    if verdict is None:
        return PatchFormat(FP16)
    try:
        return parts.formats.of(verdict.codec, collection.fingerprint)
    except (NotFoundError, CorruptionError) as error:
        log.warning("%s", error)
        return PatchFormat(FP16)


def _is_large(parts: IndexerParts, collection: Collection) -> bool:
    counts = parts.catalog.collection_counts_of(collection.id)
    return counts["live"] >= parts.settings.codec_from


def _fit_latent(parts: IndexerParts, snapshot: Snapshot) -> PatchCodec | None:
    """A codec fitted to at most ``codec_sample`` images that the collection stores in fp16; not yet written.

    None: the model cannot say what its cross-attention sees.
    """
    from sightline.blip.patch_codec import PatchMetric, fit

    encoder, settings = parts.models.encoder(snapshot.collection), parts.settings
    if not isinstance(encoder, PatchMetric):
        return None

    def sample() -> Iterator[Tensor]:
        return fp16_patches(parts.segments, snapshot, settings.codec_sample)

    metric = encoder.patch_metric()
    return fit(sample, metric, encoder.fingerprint, settings.codec_rank, settings.codec_grid)


def fp16_patches(segments: SegmentReader, snapshot: Snapshot, most: int) -> Iterator[Tensor]:
    """Patches ``[n,P,V]`` of images stored in fp16, a few at a time, at most ``most`` together."""
    import torch

    left = most
    for segment in snapshot.segments:
        if segment.codec != FP16 or not left:
            continue
        wanted = np.arange(min(left, segment.count))
        left -= len(wanted)
        for start in range(0, len(wanted), _AT_ONCE):
            rows = wanted[start : start + _AT_ONCE]
            try:
                patches = segments.rows(segment.file, "patches", rows)
            except (CorruptionError, FileMissingError) as error:
                log.warning("%s", error)  # the others are enough to fit a codec
                continue
            yield torch.from_numpy(patches)
