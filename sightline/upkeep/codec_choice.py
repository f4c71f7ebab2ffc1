"""``auto``: which patch codec a large collection gets, measured on its own pictures before it is used.

The smallest one that keeps the order is taken: a latent of the default size, a wider one, int8, else fp16. It
is fitted to some of the pictures and judged on others (as ``sightline cache report`` does; decision 163).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.errors import CorruptionError
from sightline.store.codec_verdicts import CodecTrial, CodecVerdict, CodecVerdicts
from sightline.store.conditions import Filter
from sightline.store.durable import FileMissingError
from sightline.types import FP16, INT8
from sightline.upkeep.cache_sample import captions_of, stored_tokens
from sightline.upkeep.fidelity_sample import FidelitySample, fidelities

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.patch_codec import PatchCodec
    from sightline.blip.patch_formats import PatchFormats
    from sightline.blip.protocols import RetrievalModel
    from sightline.serving.models import Models
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.store.segments import SegmentReader
    from sightline.upkeep.fidelity_sample import Compress

log = logging.getLogger(__name__)

WIDER: Final = 1.5
"""The second latent that is tried, by the rank of the first."""
AT_ONCE: Final = 8
"""Images that are read together."""


@dataclass(frozen=True)
class CodecSizes:
    """What is measured on, and what is enough.

    ``fitted``: images that a latent is fitted to. ``rank`` and ``grid`` of latents; None: as `fit` chooses.
    ``keeps_latent`` and ``keeps_int8``: Kendall τ and overlap of the best ten, at least.
    """

    fitted: int = 1000
    rank: int | None = None
    grid: bool | None = None
    pictures: int = 100
    texts: int = 20
    candidates: int = 50
    keeps_latent: float = 0.94
    keeps_int8: float = 0.98


class CodecChoice:
    """Chooses, and writes down what was chosen."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        formats: PatchFormats,
        models: Models,
        sizes: CodecSizes | None = None,
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._formats = formats
        self._models = models
        self._sizes = sizes or CodecSizes()

    def choose(self, collection: Collection, beat: Callable[[], None]) -> CodecVerdict:
        """Fit, measure and keep the verdict; a latent that is chosen may be named by segments then.

        ``beat`` is called as it gets on, and may raise to end it.
        """
        verdict = self._verdict(collection, beat)
        CodecVerdicts(self._segments.folder).write(collection, verdict)
        log.info("%s", verdict.sentence, extra={"collection": collection.name})
        return verdict

    def _verdict(self, collection: Collection, beat: Callable[[], None]) -> CodecVerdict:
        from sightline.blip.patch_codec import PatchMetric
        from sightline.blip.protocols import Matcher

        model, sizes = self._models.encoder(collection), self._sizes
        keys = self._whole(collection)
        if not isinstance(model, Matcher) or len(keys) < 4:
            return CodecVerdict(FP16, (), 0, 0)
        judged = min(sizes.pictures, len(keys) // 2)
        sample = self._sample(collection, keys[:judged], beat)
        others = keys[judged : judged + sizes.fitted] if isinstance(model, PatchMetric) else []
        tried: list[CodecTrial] = []
        for codec in self._latents(model, others, beat):
            tried.append(self._tried(model, sample, codec.id, codec.encode, codec.image_bytes, beat))
            if tried[-1].passed:
                self._formats.add(codec)
                break
        else:
            tried.append(self._int8(model, sample, beat))
        chosen = tried[-1].codec if tried[-1].passed else FP16
        return CodecVerdict(chosen, tuple(tried), len(sample.keys), len(sample.queries))

    def _whole(self, collection: Collection) -> list[int]:
        """Keys of images that are kept in fp16, by chance, as many as are needed."""
        wanted = 4 * (self._sizes.pictures + self._sizes.fitted)
        keys = self._catalog.filter_keys(collection.id, Filter())
        some = np.random.default_rng(0).permutation(keys)[:wanted].tolist()
        places = self._catalog.locations(some)
        return [key for key in some if key in places and places[key].codec == FP16]

    def _sample(
        self, collection: Collection, keys: Sequence[int], beat: Callable[[], None]
    ) -> FidelitySample:
        import torch

        from sightline.blip.plain_sentences import PLAIN_SENTENCES

        found: list[int] = []
        parts: list[Tensor] = []
        for some, patches in self._patches(keys, beat):
            found += some
            parts.append(patches)
        texts = [*captions_of(self._catalog, collection, found), *PLAIN_SENTENCES][: self._sizes.texts]
        return FidelitySample(
            found, torch.cat(parts), stored_tokens(self._catalog, self._segments, found), texts
        )

    def _patches(self, keys: Sequence[int], beat: Callable[[], None]) -> Iterator[tuple[list[int], Tensor]]:
        """Keys and patches ``[n,P,V]`` fp32, a few at a time; what cannot be read is left out."""
        import torch

        places = self._catalog.locations(keys)
        for start in range(0, len(keys), AT_ONCE):
            beat()
            there = [key for key in keys[start : start + AT_ONCE] if key in places]
            some = [key for key in there if places[key].codec == FP16]
            try:
                groups = self._segments.gather([places[key] for key in some]) if some else []
            except (CorruptionError, FileMissingError) as error:
                log.warning("%s", error)  # the others are enough
                continue
            for group in groups:
                yield (
                    [some[position] for position in group.positions],
                    torch.from_numpy(group.patches).float(),
                )

    def _latents(
        self, model: RetrievalModel, keys: Sequence[int], beat: Callable[[], None]
    ) -> Iterator[PatchCodec]:
        """The one that is there, one fitted here, and a wider one: each fitted when it is asked for."""
        from sightline.blip.patch_codec import PatchMetric, fit

        known = self._formats.newest(model.fingerprint)
        if known is not None and known.latent is not None:
            yield known.latent
        if not keys or not isinstance(model, PatchMetric):
            return
        metric, sizes = model.patch_metric(), self._sizes

        def sample() -> Iterator[Tensor]:
            return (patches for _, patches in self._patches(keys, beat))

        first = fit(sample, metric, model.fingerprint, sizes.rank, sizes.grid)
        yield first
        rank = min(int(WIDER * first.basis.rank), metric.shape[-1])
        if sizes.rank is None and rank > first.basis.rank:
            yield fit(sample, metric, model.fingerprint, rank, sizes.grid)

    def _int8(self, model: RetrievalModel, sample: FidelitySample, beat: Callable[[], None]) -> CodecTrial:
        from sightline.blip.patch_codec import quantise

        width = sample.patches.shape[2]
        return self._tried(
            model,
            sample,
            INT8,
            lambda patches: quantise(patches, None),
            lambda count: count * (width + 2),
            beat,
        )

    def _tried(
        self,
        model: RetrievalModel,
        sample: FidelitySample,
        codec: str,
        compress: Compress,
        size: Callable[[int], int],
        beat: Callable[[], None],
    ) -> CodecTrial:
        (found,) = fidelities(model, sample, [compress], self._sizes.candidates, lambda *_: beat())
        least = self._sizes.keeps_int8 if codec == INT8 else self._sizes.keeps_latent
        passed = min(found.tau, found.top10) >= least
        return CodecTrial(codec, size(sample.patches.shape[1]), found.tau, found.top10, passed)
