"""Pictures that users pass in: seen by the model, batch by batch, and judged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import ImageRejected, InputError
from sightline.reranker.documents import batched
from sightline.reranker.encoded import EncodedImages, Seen
from sightline.reranker.forms import Errors, ImageInput
from sightline.reranker.inputs import identity, read_numbered
from sightline.reranker.judging import Scored, match_scores, ranking_score
from sightline.reranker.progress import Tick
from sightline.reranker.records import RankedImage, Ranking, SkippedImage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from sightline.blip.calibration import Calibration
    from sightline.blip.protocols import Encoder, Matcher
    from sightline.imaging import Limits
    from sightline.records import ScoreName
    from sightline.types import RGB

log = logging.getLogger(__name__)
Activation = Callable[["Tensor"], "Tensor"]
"""From log-odds ``[N]`` to what is wanted in their place."""


class Pictures:
    """For one call, in one thread. ``skipped`` collects what could not be read, where that ends nothing."""

    def __init__(
        self,
        matcher: Matcher,
        encoder: Encoder | None,
        limits: Limits | None,
        batch_size: int,
        errors: Errors,
        tick: Tick,
    ) -> None:
        self.skipped: list[SkippedImage] = []
        self._matcher = matcher
        self._encoder = encoder
        self._limits = limits
        self._batch_size = batch_size
        self._errors = errors
        self._tick = tick

    def ranked(
        self,
        text: str,
        documents: Iterable[ImageInput] | EncodedImages,
        score: ScoreName,
        top_k: int | None,
        calibration: Calibration,
        with_documents: bool,
    ) -> Ranking:
        """The best ``top_k`` or all, best first. Of a generator no more is held than one batch and those."""
        import torch

        with torch.inference_mode():
            vector = None if self._encoder is None else self._encoder.encode_text([text])[0]
        found: list[RankedImage] = []
        for seen in self._seen(documents):
            with torch.inference_mode():  # not around the loop: a generator's own code runs there
                patches = seen.patches.to(self._matcher.device)
                itcs = self._itc_scores(patches, seen.tokens, vector)
                scored = match_scores(self._matcher.match([text], patches), calibration)
            found += _ranked(seen, score, scored, itcs, with_documents)
            if top_k is not None and len(found) >= 2 * top_k + self._batch_size:
                found = _best(found, top_k)
        return Ranking(_best(found, top_k), self.skipped)

    def predicted(
        self, pairs: Sequence[tuple[str, ImageInput]], calibration_for: Callable[[str], Calibration]
    ) -> NDArray[np.float64]:
        """Match probabilities ``[N]``; NaN where the image could not be read."""
        import torch

        uses = Counter(identity(image) for _, image in pairs)
        kept: dict[Hashable, Tensor | None] = {}
        probabilities = np.full(len(pairs), np.nan)
        for text, positions in _by_text(pairs).items():
            calibration = calibration_for(text)
            for start in range(0, len(positions), self._batch_size):
                batch = positions[start : start + self._batch_size]
                pictures = [identity(pairs[place][1]) for place in batch]
                with torch.inference_mode():
                    self._keep(batch, pairs, kept)
                    seen = {place: kept[one] for place, one in zip(batch, pictures, strict=True)}
                    patches = {place: one for place, one in seen.items() if one is not None}
                    if patches:
                        logits = self._matcher.match([text], torch.stack(list(patches.values())))
                        scored = match_scores(logits, calibration)
                        probabilities[list(patches)] = [one.probability for one in scored]
                _release(pictures, uses, kept)
                self._tick(len(batch))
        return probabilities

    def encoded(self, documents: Iterable[ImageInput]) -> EncodedImages:
        """Patches and query tokens, on the CPU."""
        import torch

        kept: list[ImageInput | None] = []
        patches: list[Tensor] = []
        tokens: list[Tensor] = []
        for batch in batched(documents, self._batch_size):
            kept += [document for _, document in batch]
            if (seen := self._see(batch)) is not None:
                patches.append(seen.patches.cpu())
                if self._encoder is not None:
                    with torch.inference_mode():
                        tokens.append(self._encoder.encode_image(seen.patches).cpu())
            self._tick(len(batch))
        return EncodedImages(
            torch.cat(patches) if patches else torch.empty(0, *self._matcher.patch_shape),
            torch.cat(tokens) if tokens else None,
            self._matcher.fingerprint,
            tuple(kept),
            tuple(self.skipped),
        )

    def _seen(self, documents: Iterable[ImageInput] | EncodedImages) -> Iterator[Seen]:
        """In batches, without what is skipped."""
        if isinstance(documents, EncodedImages):
            if documents.fingerprint != self._matcher.fingerprint:
                raise InputError("Another model encoded these images; encode them with this one.")
            self.skipped += documents.skipped
            for seen in documents.batches(self._batch_size):
                yield seen
                self._tick(len(seen.indices))
            return
        for batch in batched(documents, self._batch_size):
            found = self._see(batch)
            if found is not None:
                yield found
            self._tick(len(batch))

    def _see(self, batch: Sequence[tuple[int, ImageInput]]) -> Seen | None:
        """One batch without what is skipped; None when that is all of it."""
        import torch

        read = [
            (place, image, rgb) for place, image in batch if (rgb := self._read(place, image)) is not None
        ]
        if not read:
            return None
        indices, documents, pictures = (list(column) for column in zip(*read, strict=True))
        with torch.inference_mode():
            patches = self._matcher.encode_patches(self._matcher.preprocess(pictures))
        return Seen(indices, documents, patches, None)

    def _read(self, position: int, image: ImageInput) -> RGB | None:
        try:
            return read_numbered(image, position, self._limits)
        except InputError as error:
            if self._errors == "raise":
                raise
            told = error if isinstance(error, ImageRejected) else ImageRejected(error.code, str(error))
            log.warning("Skipped: %s", told.detail)
            self.skipped.append(SkippedImage(position, image, told.reason, told.detail))
            return None

    def _keep(
        self,
        batch: Sequence[int],
        pairs: Sequence[tuple[str, ImageInput]],
        kept: dict[Hashable, Tensor | None],
    ) -> None:
        """See those that are not kept yet; None stands for one that could not be read."""
        named = ((identity(pairs[place][1]), place) for place in batch)
        missing = {name: (place, pairs[place][1]) for name, place in named if name not in kept}
        kept.update(dict.fromkeys(missing))
        seen = self._see(list(missing.values())) if missing else None
        if seen is not None:
            names = (identity(pairs[place][1]) for place in seen.indices)
            kept.update(zip(names, seen.patches, strict=True))

    def _itc_scores(
        self, patches: Tensor, tokens: Tensor | None, vector: Tensor | None
    ) -> Sequence[float | None]:
        """ITC ``[B]`` of patches ``[B,P,V]`` with a text vector ``[D]``: each image's best query token."""
        if self._encoder is None or vector is None:
            return [None] * len(patches)
        tokens = self._encoder.encode_image(patches) if tokens is None else tokens.to(vector.device)
        itcs: list[float] = (tokens @ vector).amax(dim=1).tolist()
        return itcs


def activated(probabilities: NDArray[np.float64], activation_fn: Activation | None) -> Tensor:
    """Probabilities ``[N]`` in float32, or what ``activation_fn`` makes of their log-odds."""
    import torch

    found = torch.from_numpy(probabilities)
    return (found if activation_fn is None else activation_fn(found.logit())).float()


def _ranked(
    seen: Seen,
    score: ScoreName,
    scored: Sequence[Scored],
    itcs: Sequence[float | None],
    with_documents: bool,
) -> Iterator[RankedImage]:
    for index, document, one, itc in zip(seen.indices, seen.documents, scored, itcs, strict=True):
        total = one.logit if itc is None else ranking_score(score, one.logit, itc)  # without ITC: ITM alone
        document = document if with_documents else None
        yield RankedImage(index, total, one.logit, one.probability, itc, one.raw, document)


def _best(found: Iterable[RankedImage], top_k: int | None) -> list[RankedImage]:
    return sorted(found, key=lambda image: (-image.score, image.index))[:top_k]


def _by_text(pairs: Sequence[tuple[str, ImageInput]]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for position, (text, _) in enumerate(pairs):
        positions.setdefault(text, []).append(position)
    return positions


def _release(used: Sequence[Hashable], uses: Counter[Hashable], kept: dict[Hashable, Tensor | None]) -> None:
    """Drop the patches of pictures that no later pair needs."""
    for image in used:
        uses[image] -= 1
        if not uses[image]:
            del kept[image]
