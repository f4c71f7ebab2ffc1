"""A search whose candidates are put in order by an instruction: how much surer yes is than no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sightline.blip.instructions import prompt
from sightline.errors import ImageRejected
from sightline.reranker.records import PatchGroup
from sightline.searching.remembered import FeatureMemory, FeatureSource, Remembered
from sightline.serving.writing import SharedAnswerer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import Answerer, Writer
    from sightline.records import InstructedMatcher, Precision
    from sightline.serving.models import Models, WriterIdentity
    from sightline.serving.scheduler import Admission
    from sightline.serving.writers import WriterNames
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.types import RGB

SHOWN: Final = "Does this image show {text}?"
"""What is asked when there is no instruction; ``text`` is the search's."""
UNLIKELY_FIRST: Final = ("no", "yes")
"""As the two logits of a Matcher lie."""

FeaturesOf = Callable[["Collection", "Writer", "WriterIdentity"], FeatureSource]
"""Where the features of a collection's images come from."""


@dataclass(frozen=True)
class Judging:
    """Who puts the candidates of one search in order, from what."""

    matcher: YesNoMatcher
    source: FeatureRows


class Instructing:
    """Makes matchers of models that answer. Thread-safe."""

    def __init__(
        self,
        catalog: Catalog,
        models: Models,
        names: WriterNames,
        features: FeaturesOf,
        memory: FeatureMemory,
    ) -> None:
        self._catalog = catalog
        self._models = models
        self._names = names
        self._features = features
        self._memory = memory

    def of(self, admitted: Admission, collection: Collection, asked: InstructedMatcher, text: str) -> Judging:
        """For one search that was let in.

        Raises:
            CheckpointError: the model answers no questions.
            ModelUnavailableError: it cannot be had.
        """
        named = self._names.answerer(collection, asked.model, asked.revision)
        model = SharedAnswerer(self._models.answerer(named.model, named.revision), admitted)
        identity = self._models.identify_writer(named.model, "asking", named.revision)
        source = Remembered(self._features(collection, model, identity), self._memory, model)
        question = SHOWN.format(text=text.strip()) if asked.instruction is None else asked.instruction
        matcher = YesNoMatcher(model, prompt("yes_no", question))
        return Judging(matcher, FeatureRows(self._catalog, collection, source))


class YesNoMatcher:
    """A Matcher whose match logit is the log-odds of yes against no, as answers to one prompt.

    What it takes for patches are the model's features. The other logit is 0, so that the match probability is
    that of yes among the two.
    """

    matches_exactly: bool = True
    text_limit: int = 0

    def __init__(self, model: Answerer, asked: str) -> None:
        self._model = model
        self._asked = asked

    @property
    def fingerprint(self) -> str:
        """The model's own."""
        return self._model.fingerprint

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(F, W) of the features."""
        return self._model.feature_shape

    @property
    def device(self) -> torch.device:
        """Where results lie."""
        return self._model.device

    def is_truncated(self, text: str) -> bool:
        """The prompt was made before."""
        return False

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pixels ``[B,3,S,S]``."""
        return self._model.preprocess(images)

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """Features ``[B,F,W]``."""
        return self._model.features(self._model.encode_patches(pixels))

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """Logits ``[K,2]`` of features ``[K,F,W]``: 0, and ln p(yes) − ln p(no). The prompt counts."""
        import torch

        from sightline.blip.latents import Latents

        features = patches.patches() if isinstance(patches, Latents) else patches
        likelihoods_K2 = self._model.log_likelihoods(features, [self._asked], UNLIKELY_FIRST)
        odds_K = likelihoods_K2[:, 1] - likelihoods_K2[:, 0]
        return torch.stack([torch.zeros_like(odds_K), odds_K], dim=1)


class FeatureRows:
    """A ``PatchSource`` that gives features, for one search."""

    def __init__(self, catalog: Catalog, collection: Collection, source: FeatureSource) -> None:
        self._catalog = catalog
        self._collection = collection
        self._source = source

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        """Features of ``keys``, in one group.

        Raises:
            ImageRejected: an image cannot be seen.
        """
        images = self._catalog.describe_found(self._collection.id, keys)
        seen, features = self._source.of([images[key] for key in keys if key in images])
        if len(seen) < len(keys):
            lost = next(key for key in keys if key not in {image.key for image in seen})
            gone = ImageRejected("unreadable", f"The image with key {lost} cannot be seen any more.")
            raise self._source.refused.get(lost, gone)
        return [PatchGroup(range(len(keys)), features)]
