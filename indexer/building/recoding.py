"""Segments from before the patch codec was there, rewritten into it: a tenth of their size."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import numpy as np

from sightline.blip.patch_formats import PatchFormat, PatchFormats
from sightline.errors import CorruptionError, NotFoundError
from sightline.faultpoint import faultpoint
from sightline.indexer.building.damage import Damage
from sightline.store.codec_verdicts import CodecVerdicts
from sightline.store.durable import FileMissingError, publish_or_remove
from sightline.store.segments import recode_segment
from sightline.types import AUTO_CODEC, FP16, INT8, LATENT, PatchLevel

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, NewSegment, Segment, Snapshot
    from sightline.store.segments import Packing, SegmentReader
    from sightline.types import Codes, Half

log = logging.getLogger(__name__)


class Recoding:
    """Replaces fp16 segments by ones in the codec of ``level``, in one transaction each."""

    def __init__(
        self, catalog: Catalog, segments: SegmentReader, formats: PatchFormats, level: PatchLevel
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._level = level
        self._formats = formats
        self._damage = Damage(segments)

    def rewrite_one(self, snapshot: Snapshot) -> int:
        """Rewrite the first segment that is still in fp16 though it need not be; how many that were."""
        waiting = [one for one in snapshot.segments if one.codec == FP16]
        target = self._target(snapshot.collection) if waiting else None
        if target is None:
            return 0
        for segment in self._damage.spared(waiting):
            try:
                return int(self._replace(snapshot, segment, target))
            except (CorruptionError, FileMissingError):
                if not self._damage.found_in([segment]):
                    raise
        return 0

    def _target(self, collection: Collection) -> PatchFormat | None:
        """None: fp16 stays."""
        if self._level == AUTO_CODEC:
            return self._chosen(collection)
        if self._level == INT8:
            return PatchFormat(INT8)
        return self._formats.newest(collection.fingerprint) if self._level == LATENT else None

    def _chosen(self, collection: Collection) -> PatchFormat | None:
        verdict = CodecVerdicts(self._segments.folder).find(collection)
        if verdict is None or verdict.codec == FP16:
            return None
        try:
            return self._formats.of(verdict.codec, collection.fingerprint)
        except (NotFoundError, CorruptionError) as error:
            log.warning("%s", error)
            return None

    def _replace(self, snapshot: Snapshot, old: Segment, target: PatchFormat) -> bool:
        new = self._rewritten(snapshot, old, target)
        replaced = publish_or_remove(
            self._segments.path(new),
            lambda: self._catalog.replace_segments(snapshot.collection.id, [old.id], new),
        )
        faultpoint("recode.published")
        if replaced:
            told = {"collection": snapshot.collection.name, "codec": target.codec, "images": old.count}
            log.info("segment compressed", extra=told)
        return replaced

    def _rewritten(self, snapshot: Snapshot, old: Segment, target: PatchFormat) -> NewSegment | None:
        """What is not gone, in the new codec; None when that is nothing."""
        alive = np.setdiff1d(self._segments.keys(old.file), snapshot.gone)
        if not len(alive):
            return None
        return recode_segment(self._segments, old, alive, target.codec, _packing(target))


def _packing(target: PatchFormat) -> Packing:
    def pack(patches: Half) -> tuple[Codes, Half]:
        import torch

        packed = target.pack(torch.from_numpy(patches))
        assert packed.patches is not None
        assert packed.scales is not None
        return cast("Codes", packed.patches), packed.scales

    return pack
