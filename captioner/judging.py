"""Texts judged by the model of their collection: the match probability of each, by ITM in full precision.

Shapes: K pairs of a text and an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sightline.captioner.settings import PAIRS_ON_ACCELERATOR, PAIRS_ON_CPU
from sightline.errors import ImageRejected, UnavailableError

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import Matcher
    from sightline.captioner.parts import Group, PatchSource

Pair = tuple[int, int, str]
"""Row of the patches, position among the texts of its image, text."""


class Judge:
    """Judges texts of stored images; ``source`` gives their patches. In one thread.

    ``refused`` fills with the images of which no patches can be had, by key.
    """

    def __init__(self, model: Matcher, source: PatchSource, pairs: int | None = None) -> None:
        """``pairs``: judged at once; by the device when not given."""
        on_cpu = model.device.type == "cpu"
        self._model = model
        self._source = source
        self._pairs = pairs or (PAIRS_ON_CPU if on_cpu else PAIRS_ON_ACCELERATOR)
        self.refused: dict[int, ImageRejected] = {}

    def probabilities(self, texts: Mapping[int, Sequence[str]]) -> dict[int, list[float]]:
        """Key → the match probabilities of its texts, in their order; refused images are left out.

        Raises:
            UnavailableError: a logit is no number.
        """
        found: dict[int, list[float]] = {}
        for keys, group in self._groups([key for key, some in texts.items() if some]):
            judged = {key: [0.0] * len(texts[key]) for key in keys}
            pairs = [(row, at, text) for row, key in enumerate(keys) for at, text in enumerate(texts[key])]
            # Texts of like lengths together: all of a batch are padded to the longest.
            pairs.sort(key=lambda pair: len(pair[2]))
            for start in range(0, len(pairs), self._pairs):
                some = pairs[start : start + self._pairs]
                for (row, at, _), probability in zip(some, self._judge(group, some), strict=True):
                    judged[keys[row]][at] = probability
            found |= judged
        return found | {key: [] for key, some in texts.items() if not some}

    def truncated(self, texts: Sequence[str]) -> int:
        """How many of them the model does not read to their end."""
        return sum(self._model.is_truncated(text) for text in texts)

    def _groups(self, keys: Sequence[int]) -> Iterator[tuple[list[int], Group]]:
        """Keys and their patches; after a refusal one key at a time, so that no neighbour is lost."""
        if not keys:
            return
        try:
            groups = self._source.patches(keys)
        except ImageRejected as error:
            if len(keys) == 1:
                self.refused[keys[0]] = error
                return
            for key in keys:
                yield from self._groups([key])
            return
        for group in groups:
            yield [keys[row] for row in group.rows], group

    def _judge(self, group: Group, pairs: Sequence[Pair]) -> list[float]:
        rows = [row for row, _, _ in pairs]
        logits_K2 = self._model.match([text for _, _, text in pairs], _picked(group.patches, rows), "exact")
        wide = logits_K2.double()
        if not bool(wide.isfinite().all()):
            raise UnavailableError("The model gave a match logit that is no number: load it in float32.")
        probabilities: list[float] = wide.softmax(dim=1)[:, 1].tolist()
        return probabilities


def _picked(patches: Tensor | Latents, rows: Sequence[int]) -> Tensor | Latents:
    """``[K,P,V]`` of these rows, each as often as it is named."""
    from sightline.blip.latents import Latents

    if isinstance(patches, Latents):
        return Latents(patches.codes[list(rows)], patches.scales[list(rows)], patches.basis)
    return patches[list(rows)]
