"""The parts that find out, on an installation's own pictures, what is quick and keeps the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.answering import Answering
from sightline.lazy import once

if TYPE_CHECKING:
    from sightline.serving.index_kinds import IndexKinds
    from sightline.upkeep.cache_report import CacheMeasurement
    from sightline.upkeep.calibrating import Calibrating
    from sightline.upkeep.cascade_report import CascadeMeasurement
    from sightline.upkeep.codec_choice import CodecChoice
    from sightline.upkeep.precision_check import PrecisionCheck
    from sightline.upkeep.precision_watch import PrecisionWatch
    from sightline.upkeep.recall_report import RecallMeasurement


class Choosing(Answering):
    """What `sightline cache` runs, and a server in the background. Thread-safe."""

    @once
    def cache_measurement(self) -> CacheMeasurement:
        """Measures levels of the patch cache and fits codecs."""
        from sightline.upkeep.cache_report import CacheMeasurement

        self.claim_folders()
        return CacheMeasurement(
            self.catalog, self.segments, self.formats, self.models, self.reencoding, self.precision_check
        )

    @once
    def codec_choice(self) -> CodecChoice:
        """Chooses how a large collection keeps its patches."""
        from sightline.upkeep.codec_choice import CodecChoice, CodecSizes

        asked = self.settings.indexer
        sizes = CodecSizes(
            asked.codec_sample, asked.codec_rank, asked.codec_grid, keeps_latent=asked.codec_keeps
        )
        return CodecChoice(self.catalog, self.segments, self.formats, self.models, sizes)

    @once
    def precision_check(self) -> PrecisionCheck:
        """Finds the arithmetic that scores pairs fastest and keeps their order."""
        from sightline.upkeep.precision_check import PrecisionCheck

        return PrecisionCheck(self.catalog, self.segments, self.patches, self.models, self.verdicts)

    @once
    def precision_watch(self) -> PrecisionWatch:
        """Has models checked while they are served; started by the server only."""
        from sightline.upkeep.precision_watch import PrecisionWatch

        return PrecisionWatch(self.catalog, self.models, self.scheduler, self.precision_check)

    @once
    def recall_measurement(self) -> RecallMeasurement:
        """Says what the indexes of collections find."""
        from sightline.upkeep.recall_report import RecallMeasurement

        return RecallMeasurement(self.catalog, self.segments, self.indexes, self.sample_texts, self.models)

    @once
    def cascade_measurement(self) -> CascadeMeasurement:
        """Fits cascades and says what they are worth."""
        from sightline.upkeep.cascade_report import CascadeMeasurement

        self.claim_folders()
        return CascadeMeasurement(self.catalog, self.models, self.retriever, self.patches, self.cascades)

    @once
    def calibrating(self) -> Calibrating:
        """Fits the match probabilities of collections."""
        from sightline.upkeep.calibrating import Calibrating

        return Calibrating(self.catalog, self.models, self.retriever, self.patches, self.calibrations)

    @once
    def index_kinds(self) -> IndexKinds:
        """Which kind of index a collection is to have."""
        from sightline.serving.index_kinds import IndexKinds

        return IndexKinds(self.catalog, self.indexes)
