"""Orders images by how well they match a text: the match logit of each pair, and the ITC cosine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import ImageRejected, InputError
from sightline.reranker.inputs import ImageInput, checked_images, checked_text, identity, load
from sightline.reranker.judging import Judge, Scored
from sightline.reranker.pace import Pace
from sightline.reranker.records import Candidate, PatchSource, Ranked, RankedImage
from sightline.reranker.scores import checked_precision, checked_score, match_scores, ranking_score

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from sightline.blip.protocols import Encoder, Matcher
    from sightline.imaging import Limits
    from sightline.records import Precision, ScoreName

_BATCH: int = 16
"""Pairs that go through the model together."""


class Reranker:
    """Judges pairs with ``matcher``. Holds no state between calls; thread-safe when the model is.

    `rank` and `predict` take pictures and need an ``encoder``; `rerank` takes candidates of a collection and
    needs a ``patch_source``.
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
    ) -> None:
        if batch_size < 1:
            raise InputError(f"The batch size must be at least 1, not {batch_size}.")
        self._matcher = matcher
        self._patch_source = patch_source
        self._encoder = encoder
        self._batch_size = batch_size
        self._limits = limits
        self._clock = clock

    @classmethod
    def from_pretrained(
        cls, model: str, *, revision: str | None = None, device: str | None = None, dtype: str | None = None
    ) -> Reranker:
        """Load a BLIP-2 checkpoint, a folder or a name on the hub, for `rank` and `predict`.

        ``device`` (cpu, cuda, …) and ``dtype`` of the image encoder: None picks the best that is there.
        """
        from sightline.blip import load_blip2

        loaded = load_blip2(model, revision=revision, device=device, dtype=dtype)
        return cls(loaded, encoder=loaded)

    def rank(
        self,
        text: str,
        images: Iterable[ImageInput],
        top_k: int | None = None,
        score: ScoreName = "itm+itc",
    ) -> list[RankedImage]:
        """Order pictures by how well they match ``text``; the best ``top_k``, or all. Ties: by index.

        Paths, bytes of image files, PIL images or RGB arrays uint8 ``[H,W,3]``. `InputError` for an empty
        text, no images, a URL or a wrong type; `ImageRejected` naming the picture that cannot be decoded.
        """
        text, listed, name = checked_text(text), checked_images(images), checked_score(score)
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k must be at least 1, not {top_k}.")
        import torch

        encoder = self._needed_encoder()
        ranked: list[RankedImage] = []
        with torch.inference_mode():
            vector = encoder.encode_text([text])[0]
            for indices in _batches(range(len(listed)), self._batch_size):
                patches = self._encode(encoder, [(index, listed[index]) for index in indices])
                itcs = (encoder.encode_image(patches) @ vector).amax(dim=1).tolist()
                scored = match_scores(self._matcher.match([text], patches))
                ranked += [
                    RankedImage(index, ranking_score(name, logit, itc), logit, probability, itc)
                    for index, itc, (logit, probability) in zip(indices, itcs, scored, strict=True)
                ]
        return sorted(ranked, key=lambda image: (-image.score, image.index))[:top_k]

    def predict(self, pairs: Iterable[tuple[str, ImageInput]]) -> NDArray[np.float32]:
        """Match probability ``[N]`` of each (text, image) pair, in the order given.

        Pairs with one text go through the model together; a picture that occurs in several pairs is encoded
        once. Errors as in `rank`.
        """
        listed = _checked_pairs(pairs)
        import torch

        encoder = self._needed_encoder()
        uses = Counter(identity(image) for _, image in listed)
        kept: dict[Hashable, Tensor] = {}
        probabilities = np.empty(len(listed), np.float32)
        with torch.inference_mode():
            for text, positions in _by_text(listed).items():
                for batch in _batches(positions, self._batch_size):
                    patches = self._encode_once(encoder, [(p, listed[p][1]) for p in batch], kept)
                    scored = match_scores(self._matcher.match([text], patches))
                    probabilities[batch] = [probability for _, probability in scored]
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
    ) -> list[Ranked]:
        """The best ``k`` of ``candidates``, judged in ITC order from the patches of their keys. Ties: by key.

        With ``deadline_ms``, what could not be judged in time keeps its ITC order below the rest, with
        ``itm_logit=None``; so does a candidate whose patches cannot be had. Nothing is judged for
        ``score="itc"``.

        With ``precision="exact"`` the best ``2 · exact_top`` (None: ``2 · k``) are judged again in float32,
        as far as the time allows, and stand above the rest in the order of those scores.
        """
        text, name = checked_text(text), checked_score(score)
        if k < 0:
            raise InputError(f"k must not be negative, as {k} is.")
        exact_top = k if exact_top is None else exact_top
        again = 2 * exact_top if checked_precision(precision) == "exact" else 0
        ordered = sorted(candidates, key=lambda candidate: (candidate.itc_rank, candidate.key))
        best = [] if name == "itc" else self._judged(text, ordered, name, deadline_ms, again)
        judged = {one.key for one in best}
        rest = [_ranked("itc", one, None) for one in ordered if one.key not in judged]
        return (best + rest)[:k]

    def _judged(
        self, text: str, ordered: Sequence[Candidate], score: ScoreName, deadline_ms: float | None, again: int
    ) -> list[Ranked]:
        """Those that could be judged in time, best first, the head of ``again`` candidates in float32."""
        if self._patch_source is None:
            raise InputError("This reranker has no patch source: it can rank pictures, not candidates.")
        pace = Pace(self._batch_size, deadline_ms, self._clock)
        judge = Judge(self._matcher, self._patch_source, text, pace)
        best = _sorted(score, ordered, judge.score([one.key for one in ordered]))
        if not again or self._matcher.matches_exactly:
            return best
        head = _sorted(score, ordered, judge.score([one.key for one in best[:again]], "exact"))
        exact = {one.key for one in head}
        return head + [one for one in best if one.key not in exact]

    def _needed_encoder(self) -> Encoder:
        if self._encoder is None:
            raise InputError("This reranker has no encoder: it can judge candidates, not pictures.")
        return self._encoder

    def _encode(self, encoder: Encoder, images: Sequence[tuple[int, ImageInput]]) -> Tensor:
        """Patches ``[B,P,V]`` of (position, image) pairs; errors name the position."""
        pixels = [_load(image, position, self._limits) for position, image in images]
        return encoder.encode_patches(encoder.preprocess(pixels))

    def _encode_once(
        self, encoder: Encoder, images: Sequence[tuple[int, ImageInput]], kept: dict[Hashable, Tensor]
    ) -> Tensor:
        import torch

        missing = {identity(image): (p, image) for p, image in images if identity(image) not in kept}
        if missing:
            kept.update(zip(missing, self._encode(encoder, list(missing.values())), strict=True))
        return torch.stack([kept[identity(image)] for _, image in images])


def _load(image: ImageInput, position: int, limits: Limits | None) -> NDArray[np.uint8]:
    from sightline.imaging import Limits

    try:
        return load(image, limits or Limits())
    except ImageRejected as error:
        raise ImageRejected(error.reason, f"image {position}: {error.detail}") from error
    except InputError as error:
        raise InputError(f"Image {position}: {error}") from error


def _checked_pairs(pairs: Iterable[tuple[str, ImageInput]]) -> list[tuple[str, ImageInput]]:
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


def _sorted(score: ScoreName, candidates: Sequence[Candidate], scored: dict[int, Scored]) -> list[Ranked]:
    """The scored candidates, best first."""
    ranked = [_ranked(score, one, scored[one.key]) for one in candidates if one.key in scored]
    return sorted(ranked, key=lambda one: (-one.score, one.key))


def _ranked(score: ScoreName, candidate: Candidate, scored: Scored | None) -> Ranked:
    key, itc, itc_rank = candidate.key, candidate.itc, candidate.itc_rank
    if scored is None:
        return Ranked(key, itc, itc, itc_rank, None, None)
    logit, probability = scored
    return Ranked(key, ranking_score(score, logit, itc), itc, itc_rank, logit, probability)
