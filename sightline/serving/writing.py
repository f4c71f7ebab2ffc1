"""Models that write, as one request sees them: what they compute is done in its turns of the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import Answerer, Writer
    from sightline.blip.sampling import Answer, Sampling, SamplingName
    from sightline.serving.scheduler import Admission
    from sightline.types import RGB


class SharedWriter:
    """A Writer for one request that was let in; every turn is one batch."""

    def __init__(self, model: Writer, admitted: Admission) -> None:
        self._writer = model
        self._admitted = admitted

    @property
    def fingerprint(self) -> str:
        """The model's own."""
        return self._writer.fingerprint

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(P, V)."""
        return self._writer.patch_shape

    @property
    def device(self) -> torch.device:
        """Where results lie."""
        return self._writer.device

    @property
    def features_are_patches(self) -> bool:
        """Whether ``features`` gives back what it got."""
        return self._writer.features_are_patches

    @property
    def feature_shape(self) -> tuple[int, int]:
        """(F, W)."""
        return self._writer.feature_shape

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pixels ``[B,3,S,S]``, in the request's own thread."""
        return self._writer.preprocess(images)

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """Patches ``[B,P,V]``, in one turn."""
        return self._admitted.turn(lambda: self._writer.encode_patches(pixels))

    def features(self, patches: Tensor | Latents) -> Tensor:
        """Features ``[B,F,W]``, in one turn."""
        return self._admitted.turn(lambda: self._writer.features(patches))

    def sampling(self, name: SamplingName) -> Sampling:
        """The settings that the model was published with."""
        return self._writer.sampling(name)


class SharedAnswerer(SharedWriter):
    """An Answerer for one request."""

    def __init__(self, model: Answerer, admitted: Admission) -> None:
        super().__init__(model, admitted)
        self._answerer = model

    def answer(self, features: Tensor, prompts: Sequence[str], sampling: Sampling) -> list[Answer]:
        """One answer for each of the ``[K,F,W]``, in one turn.

        Raises:
            DeadlineError: the request's time was up before its turn came.
        """
        return self._admitted.turn(lambda: self._answerer.answer(features, prompts, sampling), droppable=True)

    def log_likelihoods(self, features: Tensor, prompts: Sequence[str], options: Sequence[str]) -> Tensor:
        """Of each option ``[K,O]``, in one turn; DeadlineError as of ``answer``."""
        return self._admitted.turn(
            lambda: self._answerer.log_likelihoods(features, prompts, options), droppable=True
        )
