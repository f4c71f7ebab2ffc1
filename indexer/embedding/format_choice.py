"""In which form the patches of new images are stored.

``latent`` needs a codec fitted to the model's patches. Until the collection has a sample to fit one on, new
images are stored in fp16; the builder rewrites those later (indexer/building/recoding.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sightline.blip.patch_formats import PatchFormat
from sightline.errors import InputError
from sightline.types import FP16, LATENT

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.patch_codec import PatchCodec
    from sightline.blip.protocols import Encoder
    from sightline.indexer.parts import IndexerParts
    from sightline.indexer.settings import IndexerSettings
    from sightline.store.records import Collection, Snapshot
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)

_AT_ONCE = 32
"""Images that are read together: 23 MB of ViT-g patches in fp16."""


def choose_format(parts: IndexerParts, collection: Collection) -> PatchFormat:
    """The form for new images of a collection; fits the latent once there is a sample to fit it on.

    Two workers that fit at the same time write two codecs; both stay valid, and the later one is used on.
    """
    settings = parts.settings
    if settings.patch_codec != LATENT:
        return PatchFormat(settings.patch_codec)
    known = parts.formats.newest(collection.fingerprint)
    if known is not None:
        return known
    snapshot = parts.catalog.snapshot(collection.name)
    if sum(segment.count for segment in snapshot.segments if segment.codec == FP16) < settings.codec_sample:
        return PatchFormat(FP16)
    fitted = fit_latent(parts.segments, snapshot, parts.models.encoder(collection), settings)
    log.info("patch codec fitted", extra={"codec": fitted.id, "images": fitted.images})
    return parts.formats.add(fitted)


def fit_latent(
    segments: SegmentReader, snapshot: Snapshot, encoder: Encoder, settings: IndexerSettings
) -> PatchCodec:
    """A codec fitted to at most ``codec_sample`` images that the collection stores in fp16; not yet written.

    Raises:
        InputError: there are none, or the model cannot say what its cross-attention sees.
    """
    from sightline.blip.patch_codec import PatchMetric, fit

    if not isinstance(encoder, PatchMetric):
        raise InputError("This model has no patch metric to fit a latent in; keep its patches in int8.")
    most, rank, grid = settings.codec_sample, settings.codec_rank, settings.codec_grid

    def sample() -> Iterator[Tensor]:
        return fp16_patches(segments, snapshot, most)

    return fit(sample, encoder.patch_metric(), encoder.fingerprint, rank, grid)


def fp16_patches(segments: SegmentReader, snapshot: Snapshot, most: int) -> Iterator[Tensor]:
    """Patches ``[n,P,V]`` of images stored in fp16, a few at a time, at most ``most`` together."""
    import torch

    left = most
    for segment in snapshot.segments:
        if segment.codec != FP16 or not left:
            continue
        patches = segments.read(segment.file).patches
        if patches is None:
            continue
        wanted = patches[:left]
        left -= len(wanted)
        for start in range(0, len(wanted), _AT_ONCE):
            # Copied: a view into the map is read-only, which torch warns about.
            yield torch.from_numpy(wanted[start : start + _AT_ONCE].copy())
