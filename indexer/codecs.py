"""Which codec keeps the patches of new images, and codecs by the id that segments name.

``latent`` needs a codec fitted to the model's patches. Until the collection has a sample to fit one on, new
images are kept in fp16; the builder rewrites those later (indexer/building/recoding.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sightline.errors import CorruptionError, InputError, ModelMismatchError, NotFoundError
from sightline.store.codec_files import CodecFiles
from sightline.store.segment_content import FP16, INT8, NO_PATCHES

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.patch_codec import PatchCodec
    from sightline.blip.protocols import Encoder
    from sightline.indexer.services import IndexerServices
    from sightline.indexer.settings import IndexerSettings
    from sightline.store.records import Collection, Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Codes, Half

log = logging.getLogger(__name__)

LATENT = "latent"
_AT_ONCE = 32
"""Images that are read together: 23 MB of ViT-g patches in fp16."""


class Kept(NamedTuple):
    """Patches of N images as a segment keeps them: nothing, fp16, or int8 codes with scales."""

    patches: Half | Codes | None
    scales: Half | None


@dataclass(frozen=True)
class Keeping:
    """One way to keep patches. ``codec`` is what segments say: none, fp16, int8 or the id of ``latent``."""

    codec: str
    latent: PatchCodec | None = None

    def keep(self, patches: Tensor) -> Kept:
        """Patches ``[N,P,V]`` in any float format, on any device, as this codec keeps them."""
        import torch

        from sightline.blip.patch_codec import quantise

        if self.codec == NO_PATCHES:
            return Kept(None, None)
        if self.codec == FP16:
            return Kept(patches.to("cpu", torch.float16).numpy(), None)
        with torch.inference_mode():
            if self.latent is not None:
                codes, scales = self.latent.pack(patches)
            else:
                latents = quantise(patches, None)
                codes, scales = latents.codes, latents.scales
        return Kept(codes.cpu().numpy(), scales.cpu().numpy())

    def latents(self, codes: Tensor, scales: Tensor) -> Latents:
        """What `keep` stored, int8 codes and fp16 scales, for the model."""
        from sightline.blip.latents import Latents

        return self.latent.unpack(codes, scales) if self.latent is not None else Latents(codes, scales, None)


class PatchCodecs:
    """The fitted codecs of an installation; each file is read once. Thread-safe."""

    def __init__(self, segments: Path) -> None:
        self._files = CodecFiles(segments)
        self._known: dict[str, PatchCodec] = {}

    def get(self, codec: str, fingerprint: str) -> PatchCodec:
        """The codec with this id.

        Raises:
            FileMissingError: its file is gone.
            CorruptionError: its file is not what was written.
            ModelMismatchError: it is for another model.
        """
        from sightline.blip.patch_codec import from_bytes

        known = self._known.get(codec)
        if known is None or known.fingerprint != fingerprint:
            content = self._files.read(fingerprint, codec)
            known = self._known[codec] = from_bytes(content, id=codec, fingerprint=fingerprint)
        return known

    def newest(self, fingerprint: str) -> PatchCodec | None:
        """The codec that was fitted last for a model; None when there is no readable one."""
        for codec in self._files.codecs(fingerprint):
            try:
                return self.get(codec, fingerprint)
            except (NotFoundError, CorruptionError, ModelMismatchError) as error:
                log.warning("%s", error)
        return None

    def add(self, codec: PatchCodec) -> None:
        """Write it down; afterwards segments may name it."""
        from sightline.blip.patch_codec import to_bytes

        self._files.write(codec.fingerprint, codec.id, to_bytes(codec))
        self._known[codec.id] = codec


def keeping(codecs: PatchCodecs, codec: str, fingerprint: str) -> Keeping:
    """The way that a segment's codec names. Errors as `PatchCodecs.get`."""
    if codec in (NO_PATCHES, FP16, INT8):
        return Keeping(codec)
    return Keeping(codec, codecs.get(codec, fingerprint))


def chosen(services: IndexerServices, collection: Collection) -> Keeping:
    """How new images of a collection are kept; fits the latent once there is a sample to fit it on.

    Two workers that fit at the same time write two codecs; both stay valid, and the later one is used on.
    """
    settings = services.settings
    if settings.patch_codec != LATENT:
        return Keeping(settings.patch_codec)
    known = services.codecs.newest(collection.fingerprint)
    if known is None:
        snapshot = services.catalog.snapshot(collection.name)
        if _sampled(snapshot) < settings.codec_sample:
            return Keeping(FP16)
        encoder = services.models.encoder(collection)
        known = fit_latent(services.segments, snapshot, encoder, settings)
        services.codecs.add(known)
        log.info("patch codec fitted", extra={"codec": known.id, "images": known.images})
    return Keeping(known.id, known)


def fit_latent(
    segments: SegmentReader, snapshot: Snapshot, encoder: Encoder, settings: IndexerSettings
) -> PatchCodec:
    """A codec fitted to at most ``codec_sample`` images that the collection keeps in fp16; not yet written.

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
    """Patches ``[n,P,V]`` of images kept in fp16, a few at a time, at most ``most`` together."""
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


def _sampled(snapshot: Snapshot) -> int:
    every = snapshot.segments
    return sum(segment.count for segment in every if segment.codec == FP16)
