"""A model that explains, as one request sees it: what it computes is done in its turns of the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.heat_maps import HeatMaps
    from sightline.blip.latents import Latents
    from sightline.blip.protocols import Explainer
    from sightline.blip.text_words import TextWord
    from sightline.records import Precision
    from sightline.serving.scheduler import Admission


class SharedExplainer:
    """For one request that was let in; calls that compute raise DeadlineError when its time is up before."""

    def __init__(self, model: Explainer, admitted: Admission) -> None:
        self._model = model
        self._admitted = admitted

    def words(self, text: str) -> tuple[TextWord, ...]:
        """The words that are looked at; needs no turn."""
        return self._model.words(text)

    def heat_maps(self, text: str, patches: Tensor | Latents) -> HeatMaps:
        """Of one text and K images, in one turn."""
        return self._admitted.turn(lambda: self._model.heat_maps(text, patches), droppable=True)

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """Logits ``[K,2]``, in one turn."""
        return self._admitted.turn(lambda: self._model.match(texts, patches, precision), droppable=True)
