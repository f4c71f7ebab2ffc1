"""What computes and answers: models, searches, questions and captions of given pictures.

Beside `sightline.wiring`, which makes the rest from it, only so that each can be read in a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.keeping import Keeping
from sightline.lazy import is_made, once

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.blip.measured import Measured
    from sightline.blip.protocols import Writer
    from sightline.captioner.describing import Describing
    from sightline.captioner.exports import Exports
    from sightline.captioner.parts import CaptionerParts
    from sightline.retriever.retriever import Retriever
    from sightline.searching.asking import Asking
    from sightline.searching.calibrations import Calibrations
    from sightline.searching.cascades import Cascades
    from sightline.searching.collapsing import Collapsing
    from sightline.searching.counted_search import Counts
    from sightline.searching.documents import Documents
    from sightline.searching.duplicates import Duplicates
    from sightline.searching.instructing import Instructing
    from sightline.searching.patches import PatchCache
    from sightline.searching.query_samples import QuerySamples
    from sightline.searching.reencoding import Reencoding
    from sightline.searching.remembered import FeatureMemory, FeatureSource
    from sightline.searching.search import Search
    from sightline.searching.search_parts import SearchParts
    from sightline.serving.models import Models, WriterIdentity
    from sightline.serving.scheduler import Scheduler
    from sightline.serving.served import ServedModels
    from sightline.serving.sharing import PatchSharing
    from sightline.serving.verdicts import VerdictFiles
    from sightline.serving.warm_up import WarmUp
    from sightline.serving.writers import WriterNames
    from sightline.store.records import Collection


class Answering(Keeping):
    """The parts between stored pictures and an answer. Thread-safe."""

    def close(self) -> None:
        """Give back what this made: the model's thread, decoder processes and database connections."""
        if is_made(self, "scheduler"):
            self.scheduler.close()
        super().close()

    @once
    def models(self) -> Models:
        """Models by name or collection, each loaded once."""
        if self.given.models is not None:
            return self.given.models
        from sightline.serving.models import ModelProvider

        return ModelProvider(self.settings.model, self._digests, self.verdicts, self.measured)

    @once
    def verdicts(self) -> VerdictFiles:
        """In which arithmetic models score pairs on this kind of machine."""
        from sightline.serving.verdicts import VerdictFiles

        return VerdictFiles(self.settings.data_folder / "precision")

    @once
    def measured(self) -> Measured:
        """What was found out about models on this class of machine."""
        from sightline.blip.measured import Measured
        from sightline.store.machine_files import MachineFiles

        return Measured(MachineFiles(self.settings.data_folder / "precision"))

    @property
    def _digests(self) -> Path:
        """Remembers digests of model files."""
        return self.settings.data_folder / "cache" / "digests.json"

    @once
    def scheduler(self) -> Scheduler:
        """The thread that computes for all searches of this process, and the queue in front of it."""
        from sightline.serving.scheduler import Scheduler

        return Scheduler(self.settings.serving)

    @once
    def warm_up(self) -> WarmUp:
        """Loads the models of existing collections in the background; started by the server only."""
        from sightline.serving.warm_up import WarmUp

        return WarmUp(self.catalog, self.models, self.scheduler)

    @once
    def served(self) -> ServedModels:
        """The models that requests may name."""
        from sightline.serving.served import ServedModels

        return ServedModels(
            self.catalog, self.settings.model, self.settings.api.models, self.writer_names.set_here()
        )

    @once
    def writer_names(self) -> WriterNames:
        """Which model writes where none is named."""
        from sightline.serving.writers import WriterNames

        return WriterNames(self.settings.captioner, self.settings.answerer, self.settings.model)

    @once
    def sharing(self) -> PatchSharing:
        """Which models that write can use the patches of collections."""
        from sightline.serving.sharing import PatchSharing

        return PatchSharing(self.settings.model.cache_dir, self._digests)

    @once
    def captioner_parts(self) -> CaptionerParts:
        """What tasks that caption and judge touch."""
        from sightline.captioner.parts import CaptionerParts

        return CaptionerParts(
            catalog=self.catalog,
            segments=self.segments,
            formats=self.formats,
            models=self.models,
            patches=self.patches,
            reencoding=self.reencoding,
            sharing=self.sharing,
            patch_codec=self.settings.indexer.patch_codec,
            batch=self.settings.captioner.batch,
        )

    @once
    def describing(self) -> Describing:
        """Captions given pictures."""
        from sightline.captioner.describing import Describing

        return Describing(self.models, self.scheduler)

    @once
    def exports(self) -> Exports:
        """Writes pictures with their texts for whoever trains with them."""
        from sightline.captioner.exports import Exports

        return Exports(self.catalog, self.originals)

    @once
    def retriever(self) -> Retriever:
        """From a text vector to candidates."""
        from sightline.retriever.retriever import Retriever

        return Retriever(self.catalog, self.segments, self.indexes)

    @once
    def exact_retriever(self) -> Retriever:
        """As `retriever`, missing nothing, whatever the index: slow where that is approximate."""
        from sightline.retriever.exact import SCAN_BYTES, ExactCatalog
        from sightline.retriever.retriever import Retriever

        catalog = ExactCatalog(self.catalog, self.indexes)
        return Retriever(catalog, self.segments, self.indexes, tail_bytes=SCAN_BYTES)

    @once
    def reencoding(self) -> Reencoding:
        """Patches of stored images, made again from their originals."""
        from sightline.searching.reencoding import Reencoding

        return Reencoding(self.originals, self.decoder)

    @once
    def patches(self) -> PatchCache:
        """Patches of stored images, from their segments first."""
        from sightline.searching.patches import PatchCache

        return PatchCache(self.catalog, self.segments, self.formats, self.reencoding)

    @once
    def search(self) -> Search:
        """Answers text queries."""
        from sightline.searching.search import Search

        return Search(self.search_parts)

    @once
    def search_parts(self) -> SearchParts:
        """What every way of searching is made of."""
        from sightline.searching.search_parts import SearchParts

        most = self.settings.api.max_answer_bytes
        return SearchParts(
            self.catalog, self.models, self.scheduler, self.retriever, self.patches, self.instructing,
            self.cascades, self.exact_retriever, self.query_samples.note, self.counts, self.calibrations,
            self.collapsing, most,
        )  # fmt: skip

    @once
    def duplicates(self) -> Duplicates:
        """Near duplicates of collections."""
        from sightline.searching.duplicates import Duplicates

        return Duplicates(self.catalog, self.blobs)

    @once
    def collapsing(self) -> Collapsing:
        """One hit for each group of near duplicates."""
        from sightline.searching.collapsing import Collapsing

        return Collapsing(self.catalog, self.duplicates)

    @once
    def query_samples(self) -> QuerySamples:
        """Keeps a sample of what is asked; in the server only, and only where that is set."""
        from sightline.searching.query_samples import QuerySamples

        return QuerySamples(self.sample_texts)

    @once
    def cascades(self) -> Cascades:
        """What searches know of who need not be judged; learns in the server only."""
        from sightline.searching.cascades import Cascades
        from sightline.store.cascade_files import CascadeFiles

        return Cascades(self.catalog, CascadeFiles(self.settings.segments_folder))

    @once
    def counts(self) -> Counts:
        """What counting searches remember and learn; they learn in the server only."""
        from sightline.searching.count_memory import CountMemory
        from sightline.searching.count_samples import CountSamples
        from sightline.searching.counted_search import Counts
        from sightline.store.cascade_files import CascadeFiles

        samples = CountSamples(CascadeFiles(self.settings.segments_folder))
        return Counts(samples, CountMemory(), self.settings.serving.max_judged)

    @once
    def calibrations(self) -> Calibrations:
        """Which calibration the match probabilities of a collection have."""
        from sightline.searching.calibrations import Calibrations

        return Calibrations(self.catalog)

    @once
    def documents(self) -> Documents:
        """Reranks documents."""
        from sightline.searching.documents import Documents

        return Documents(
            self.catalog, self.models, self.scheduler, self.patches, self.served, self.calibrations
        )

    @once
    def asking(self) -> Asking:
        """Answers questions about pictures."""
        from sightline.searching.asking import Asking

        return Asking(
            self.catalog, self.models, self.scheduler, self.search, self.writer_names, self.features_of,
            self.feature_memory,
        )  # fmt: skip

    @once
    def instructing(self) -> Instructing:
        """Orders candidates by instructions."""
        from sightline.searching.instructing import Instructing

        names, memory = self.writer_names, self.feature_memory
        return Instructing(self.catalog, self.models, names, self.features_of, memory)

    @once
    def feature_memory(self) -> FeatureMemory:
        """Features of images that were asked about a moment ago."""
        from sightline.searching.remembered import FeatureMemory

        return FeatureMemory()

    def features_of(self, collection: Collection, model: Writer, identity: WriterIdentity) -> FeatureSource:
        """Features of a collection's images for a model that writes, for one request."""
        from sightline.captioner.features import Features

        return Features(self.captioner_parts, collection, model, identity)
