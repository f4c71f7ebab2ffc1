"""Orders images by how well they match a text: the match logit of each pair, and the ITC cosine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.blip.calibrated import calibration_of, words_read
from sightline.errors import ImageRejected, InputError
from sightline.reranker.inputs import ImageInput, checked_count, checked_images, identity, read_rgb
from sightline.reranker.judging import (
    Pace,
    Scored,
    checked_effort,
    checked_precision,
    checked_score,
    checked_text,
    match_scores,
    ranking_score,
)
from sightline.reranker.ordering import Asked, Ordering, Record, course_of, unscored
from sightline.reranker.records import Candidate, PatchSource, Ranked, RankedImage, Watch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from sightline.blip.calibration import Calibration
    from sightline.blip.protocols import Encoder, Matcher
    from sightline.imaging import Limits
    from sightline.records import Effort, Precision, ScoreName
    from sightline.reranker.cascade import Cascade

_BATCH: int = 16
"""Pairs that go through the model together."""


class Reranker:
    """Judges pairs with ``matcher``. Holds no state between calls; thread-safe when the model is.

    `rank` and `predict` take pictures, which the matcher sees itself; scores with ITC need an ``encoder`` of
    the same checkpoint. `rerank` takes candidates of a collection and needs a ``patch_source``.
    """

    def __init__(
        self,
        matcher: Matcher,
        patch_source: PatchSource | None = None,
        encoder: Encoder | None = None,
        *,
        batch_size: int = _BATCH,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        calibration: Calibration | None = None,
    ) -> None:
        """``calibration``: of match probabilities, taken as it is; None: that of the matcher's checkpoint."""
        batch_size = checked_count("batch_size", batch_size, 1)
        if encoder is not None and encoder.fingerprint != matcher.fingerprint:
            raise InputError("The encoder and the matcher are of different checkpoints; give one for both.")
        self._matcher = matcher
        self._patch_source = patch_source
        self._encoder = encoder
        self._batch_size = batch_size
        self._limits = limits
        self._clock = clock
        self._calibration = calibration

    @classmethod
    def from_pretrained(
        cls, model: str, *, revision: str | None = None, device: str | None = None, dtype: str | None = None
    ) -> Reranker:
        """Load a model for `rank` and `predict`: a folder, a name on the hub, or ``demo``.

        ``device`` (cpu, cuda, …) and ``dtype`` of the image encoder: None picks the best that is there.
        Errors as in ``sightline.blip.load``.
        """
        from sightline.blip import load
        from sightline.blip.protocols import Encoder, judging

        loaded = judging(load(model, revision=revision, device=device, dtype=dtype), model)
        return cls(loaded, encoder=loaded if isinstance(loaded, Encoder) else None)

    def rank(
        self,
        text: str,
        images: Iterable[ImageInput],
        top_k: int | None = None,
        score: ScoreName | None = None,
    ) -> list[RankedImage]:
        """Order pictures by how well they match ``text``; the best ``top_k``, or all. Ties: by index.

        Paths, bytes of image files, PIL images or RGB arrays uint8 ``[H,W,3]``. ``score`` None is ``itm+itc``
        where there is an encoder, ``itm`` where there is none; then ``itc`` is None in every result.

        `InputError` for an empty text, no images, a URL, a wrong type, or a score that needs an encoder;
        `ImageRejected` naming the picture that cannot be decoded.
        """
        text, listed, name = checked_text(text), checked_images(images), self._possible_score(score)
        top_k = None if top_k is None else checked_count("top_k", top_k, 1)
        import torch

        ranked: list[RankedImage] = []
        calibration = self._calibration_for(text)
        with torch.inference_mode():
            vector = None if self._encoder is None else self._encoder.encode_text([text])[0]
            for indices in _batches(range(len(listed)), self._batch_size):
                patches = self._encode([(index, listed[index]) for index in indices])
                itcs = self._itc_scores(patches, vector)
                scored = match_scores(self._matcher.match([text], patches), calibration)
                ranked += [
                    _ranked_image(index, name, one, itc)
                    for index, itc, one in zip(indices, itcs, scored, strict=True)
                ]
        return sorted(ranked, key=lambda image: (-image.score, image.index))[:top_k]

    def predict(self, pairs: Iterable[tuple[str, ImageInput]]) -> NDArray[np.float32]:
        """Match probability ``[N]`` of each (text, image) pair, in the order given.

        Pairs with one text go through the model together; a picture that occurs in several pairs is encoded
        once. Errors as in `rank`.
        """
        listed = _checked_pairs(pairs)
        import torch

        uses = Counter(identity(image) for _, image in listed)
        kept: dict[Hashable, Tensor] = {}
        probabilities = np.empty(len(listed), np.float32)
        with torch.inference_mode():
            for text, positions in _by_text(listed).items():
                calibration = self._calibration_for(text)
                for batch in _batches(positions, self._batch_size):
                    patches = self._encode_once([(p, listed[p][1]) for p in batch], kept)
                    scored = match_scores(self._matcher.match([text], patches), calibration)
                    probabilities[batch] = [one.probability for one in scored]
                    _release([identity(listed[p][1]) for p in batch], uses, kept)
        return probabilities

    def rerank(
        self,
        text: str,
        candidates: Sequence[Candidate],
        k: int,
        score: ScoreName = "itm+itc",
        deadline_ms: float | None = None,
        precision: Precision = "fast",
        exact_top: int | None = None,
        watch: Watch | None = None,
        effort: Effort | None = None,
        cascade: Cascade | None = None,
        record: Record | None = None,
    ) -> list[Ranked]:
        """The best ``k`` of ``candidates``, judged in ITC order from the patches of their keys. Ties: by key.

        With ``deadline_ms``, what could not be judged in time keeps its ITC order below the rest, with
        ``itm_logit=None``; so does a candidate whose patches cannot be had. Nothing is judged for
        ``score="itc"``.

        With ``precision="exact"`` the best ``2 · exact_top`` (None: ``2 · k``) are judged again in float32,
        as far as the time allows, and stand above the rest in the order of those scores.

        ``watch`` is told the order of what is scored by then, after every batch but those in float32.

        With a ``cascade``, which was learned for this model, and an ``effort`` other than ``full`` only those
        are judged that may be among the best ``exact_top`` (None: ``k``); effort None is ``auto``, but
        ``full`` with ``precision="exact"``. With a deadline, and where no plan for so many has passed its
        report, all are judged, in ITC order.

        ``record`` is told what a cascade can learn from, when all were judged and there was no deadline.
        """
        text, name, effort = checked_text(text), checked_score(score), checked_effort(effort)
        k = checked_count("k", k, 0)
        top = k if exact_top is None else checked_count("exact_top", exact_top, 0)
        again = 2 * top if checked_precision(precision) == "exact" else 0
        ordered = sorted(candidates, key=lambda candidate: (candidate.itc_rank, candidate.key))
        if name == "itc" or not ordered:
            return [unscored(one) for one in ordered][:k]
        if self._patch_source is None:
            raise InputError("This reranker has no patch source: it can rank pictures, not candidates.")
        course = course_of(cascade, self._matcher, effort, top, precision)
        course = course if deadline_ms is None else None
        pace = Pace(self._batch_size, deadline_ms, self._clock)
        record = None if deadline_ms is not None else record
        calibration = self._calibration_for(text)
        asked = Asked(text, ordered, name, again, course, watch, record, calibration)
        return Ordering(self._matcher, self._patch_source, self._batch_size, pace).of(asked)[:k]

    def _calibration_for(self, text: str) -> Calibration:
        """For the pairs of one text: with words that the matcher does not know, they match less likely."""
        if self._calibration is not None:
            return self._calibration
        return calibration_of(self._matcher).for_query(unknown=bool(words_read(self._matcher, text).unknown))

    def _possible_score(self, score: ScoreName | None) -> ScoreName:
        if score is None:
            return "itm" if self._encoder is None else "itm+itc"
        if self._encoder is None and checked_score(score) != "itm":
            raise InputError(f"This reranker has no encoder, which the score {score} needs; choose itm.")
        return checked_score(score)

    def _itc_scores(self, patches: Tensor, vector: Tensor | None) -> Sequence[float | None]:
        """ITC ``[B]`` of patches ``[B,P,V]`` with a text vector ``[D]``: each image's best query token."""
        if self._encoder is None or vector is None:
            return [None] * len(patches)
        itcs: list[float] = (self._encoder.encode_image(patches) @ vector).amax(dim=1).tolist()
        return itcs

    def _encode(self, images: Sequence[tuple[int, ImageInput]]) -> Tensor:
        """Patches ``[B,P,V]`` of (position, image) pairs; errors name the position."""
        rgb = [_read(image, position, self._limits) for position, image in images]
        return self._matcher.encode_patches(self._matcher.preprocess(rgb))

    def _encode_once(self, images: Sequence[tuple[int, ImageInput]], kept: dict[Hashable, Tensor]) -> Tensor:
        import torch

        missing = {identity(image): (p, image) for p, image in images if identity(image) not in kept}
        if missing:
            kept.update(zip(missing, self._encode(list(missing.values())), strict=True))
        return torch.stack([kept[identity(image)] for _, image in images])


def _read(image: ImageInput, position: int, limits: Limits | None) -> NDArray[np.uint8]:
    from sightline.imaging import Limits

    try:
        return read_rgb(image, limits or Limits())
    except ImageRejected as error:
        raise ImageRejected(error.reason, f"Image {position}: {error.detail}") from error
    except InputError as error:
        raise InputError(f"Image {position}: {error}") from error


def _checked_pairs(pairs: Iterable[tuple[str, ImageInput]]) -> list[tuple[str, ImageInput]]:
    if not isinstance(pairs, Iterable):
        raise InputError(f"Pass a list of pairs, not {type(pairs).__name__}.")
    listed = list(pairs)
    if not listed:
        raise InputError("There are no pairs to judge.")
    for position, pair in enumerate(listed):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f"Pair {position} must be (text, image).")
        checked_text(pair[0])
    return listed


def _by_text(pairs: Sequence[tuple[str, ImageInput]]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for position, (text, _) in enumerate(pairs):
        positions.setdefault(text, []).append(position)
    return positions


def _batches(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _release(used: Sequence[Hashable], uses: Counter[Hashable], kept: dict[Hashable, Tensor]) -> None:
    """Drop the patches of pictures that no later pair needs."""
    for image in used:
        uses[image] -= 1
        if not uses[image]:
            del kept[image]


def _ranked_image(index: int, score: ScoreName, scored: Scored, itc: float | None) -> RankedImage:
    logit = scored.logit
    total = logit if itc is None else ranking_score(score, logit, itc)  # without ITC it is ITM alone
    return RankedImage(index, total, logit, scored.probability, itc, scored.raw)
