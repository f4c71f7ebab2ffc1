"""How much of the order each level of the patch cache keeps, measured on the user's own collection.

A sample of its images is judged by ITM for some queries, whole and compressed; latents are fitted to other
images of the collection. Shapes: N sampled images · P patches · V vision width · K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.upkeep.cache_sample import WholePatches, captions_of
from sightline.upkeep.cascade_report import CascadeReport
from sightline.upkeep.fidelity_sample import FidelitySample, fidelities

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.patch_codec import PatchCodec
    from sightline.blip.patch_formats import PatchFormats
    from sightline.blip.protocols import RetrievalModel
    from sightline.reranker.fidelity import Fidelity
    from sightline.searching.reencoding import Reencoding
    from sightline.serving.models import Models
    from sightline.serving.verdicts import Verdict
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.store.segments import SegmentReader
    from sightline.types import OnProgress
    from sightline.upkeep.fidelity_sample import Compress
    from sightline.upkeep.precision_check import PrecisionCheck

CANDIDATES = 100
FIT_IMAGES = 1000


@dataclass(frozen=True)
class Request:
    """What to measure. ``queries``: texts; the images' own captions when empty."""

    collection: str
    queries: Sequence[str] = ()
    ranks: Sequence[int] = ()
    """Of latents; the codec in use, else the default one, when empty."""
    grid: bool | None = None
    """Whether these latents code patches together; None: as `sightline.blip.patch_codec.fit` chooses."""
    images: int = 200
    """Sampled images, at most half of the collection."""
    most_queries: int = 20


@dataclass(frozen=True)
class LevelReport:
    """One level. ``codec`` is the id of a fitted codec that exists; None for those fitted for this report."""

    level: str
    rank: int | None
    grid: bool | None
    codec: str | None
    bytes_per_image: int
    times_smaller: float
    fidelity: Fidelity


@dataclass(frozen=True)
class CacheReport:
    """The levels, largest first, and on what they were measured."""

    collection: str
    images: int
    encoded_again: int
    """Of these: images without fp16 patches, whose originals were read."""
    candidates: int
    fitted_to: int
    queries: int
    levels: list[LevelReport]
    precision: Verdict | None = None
    """In which arithmetic pairs are scored from now on; None: set, no choice, or too few stored patches."""
    cascade: CascadeReport | None = None
    """None: it was not asked for."""


@dataclass(frozen=True)
class _Level:
    level: str
    bytes_per_image: int
    compress: Compress
    codec: PatchCodec | None = None
    existing: bool = False


class CacheMeasurement:
    """Measures what levels of the patch cache cost, and fits codecs."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        formats: PatchFormats,
        models: Models,
        reencoding: Reencoding,
        precision: PrecisionCheck,
    ) -> None:
        self._precision = precision
        self._catalog = catalog
        self._segments = segments
        self._formats = formats
        self._models = models
        self._reencoding = reencoding

    def report(self, request: Request, on_progress: OnProgress | None = None) -> CacheReport:
        """Measure the fidelity of fp16, int8 and latents against uncompressed patches in fp32.

        Raises:
            InputError: fewer than four images, no queries, or a rank that the model's patches do not have.
        """
        show = on_progress or _silent
        collection = self._catalog.collection(request.collection)
        model = self._models.encoder(collection)
        whole = self._whole(collection, model)
        keys = whole.images()
        if len(keys) < 4:
            raise InputError(
                f"Collection {collection.name} has {len(keys)} images; a report needs at least 4."
            )
        count = min(request.images, len(keys) // 2)
        sample = self._sampled(collection, whole, keys[:count], request, show)
        levels, fitted_to = self._levels(model, whole, keys[count:], request, show)
        found = fidelities(model, sample, [one.compress for one in levels], CANDIDATES, show)
        whole_bytes = 2 * sample.patches.shape[1] * sample.patches.shape[2]
        return CacheReport(
            collection=collection.name,
            images=len(sample.keys),
            encoded_again=whole.encoded_again,
            candidates=min(CANDIDATES, len(sample.keys)),
            fitted_to=fitted_to,
            queries=len(sample.queries),
            levels=[_told(one, kept, whole_bytes) for one, kept in zip(levels, found, strict=True)],
            precision=self._precision.decide(collection, model, show),
        )

    def fit(
        self, collection: str, rank: int | None, grid: bool | None, images: int, show: OnProgress
    ) -> PatchCodec:
        """Fit a codec to at most ``images`` of a collection and write it down; segments may name it then.

        Raises:
            InputError: the model has no patch metric, or no patches of such a rank.
        """
        bound = self._catalog.collection(collection)
        model = self._models.encoder(bound)
        whole = self._whole(bound, model)
        (codec,) = _fitted(model, whole, whole.images()[:images], [rank], grid, show)
        self._formats.add(codec)
        return codec

    def _whole(self, collection: Collection, model: RetrievalModel) -> WholePatches:
        return WholePatches(self._catalog, self._segments, self._reencoding, collection, model)

    def _sampled(
        self,
        collection: Collection,
        whole: WholePatches,
        keys: Sequence[int],
        request: Request,
        show: OnProgress,
    ) -> FidelitySample:
        import torch

        found: list[int] = []
        parts = []
        for some, patches in whole.of(keys):
            found += some
            parts.append(patches)
            show("images", len(found), len(keys))
        if not found:
            raise InputError(
                f"No image of {collection.name} has fp16 patches or an original that can be read."
            )
        queries = list(dict.fromkeys(query.strip() for query in request.queries if query.strip()))
        queries = queries or captions_of(self._catalog, collection, found)
        if not queries:
            raise InputError(f"The images of {collection.name} have no captions; give a file with --queries.")
        return FidelitySample(found, torch.cat(parts), whole.tokens(found), queries[: request.most_queries])

    def _levels(
        self,
        model: RetrievalModel,
        whole: WholePatches,
        others: Sequence[int],
        request: Request,
        show: OnProgress,
    ) -> tuple[list[_Level], int]:
        """What is compared, and how many images the latents were fitted to (0: they exist)."""
        from sightline.blip.patch_codec import quantise

        count, width = model.patch_shape
        levels = [
            _Level("fp16", 2 * count * width, lambda patches: patches.half().float()),
            _Level("int8", count * (width + 2), lambda patches: quantise(patches, None)),
        ]
        newest = self._formats.newest(model.fingerprint)
        known = newest.latent if newest is not None else None
        codecs = [known] if known is not None and not request.ranks else []
        if not codecs:
            codecs = _fitted(model, whole, others[:FIT_IMAGES], request.ranks or [None], request.grid, show)
        for codec in codecs:
            levels.append(_Level("latent", codec.image_bytes(count), codec.encode, codec, codec is known))
        return levels, 0 if known in codecs else codecs[0].images


def _fitted(
    model: RetrievalModel,
    whole: WholePatches,
    keys: Sequence[int],
    ranks: Sequence[int | None],
    grid: bool | None,
    show: OnProgress,
) -> list[PatchCodec]:
    """Codecs of these ranks fitted to these images, in the same order; None: as `blip.patch_codec.fit` says.

    Raises:
        InputError: the model has no patch metric, or no patches of such a rank.
    """
    from sightline.blip.patch_codec import PatchMetric, fit

    if not isinstance(model, PatchMetric):
        raise InputError("This model has no patch metric to fit a latent in; keep its patches in int8.")

    def sample() -> Iterator[Tensor]:
        done = 0
        for some, patches in whole.of(keys):
            done += len(some)
            show("fitting", done, len(keys))
            yield patches

    metric = model.patch_metric()
    return [fit(sample, metric, model.fingerprint, rank, grid) for rank in ranks]


def _told(level: _Level, fidelity: Fidelity, whole_bytes: int) -> LevelReport:
    return LevelReport(
        level=level.level,
        rank=level.codec.basis.rank if level.codec is not None else None,
        grid=level.codec.grid is not None if level.codec is not None else None,
        codec=level.codec.id if level.codec is not None and level.existing else None,
        bytes_per_image=level.bytes_per_image,
        times_smaller=whole_bytes / level.bytes_per_image,
        fidelity=fidelity,
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""
