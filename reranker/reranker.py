"""Orders images by how well they match a text: the match logit of each pair, and the ITC cosine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.reranker.inputs import checked_count
from sightline.reranker.judging import Pace, checked_effort, checked_precision, checked_score, checked_text
from sightline.reranker.loading import Loading, check_length, loaded
from sightline.reranker.ordering import Asked, Ordering, Record, course_of, unscored
from sightline.reranker.picture_calls import PictureCalls
from sightline.reranker.records import Candidate, PatchSource, Ranked, Watch

if TYPE_CHECKING:
    from typing import Self

    from sightline.blip.calibration import Calibration
    from sightline.blip.protocols import Encoder, Matcher
    from sightline.imaging import Limits
    from sightline.records import Effort, Precision, ScoreName
    from sightline.reranker.cascade import Cascade

_BATCH: int = 16
"""Pairs that go through the model together."""


class Reranker(PictureCalls):
    """Judges pairs with a model. Holds no state between calls; thread-safe when the model is.

    `rank`, `predict` and `encode` take pictures, which the model sees itself; scores with ITC need an
    ``encoder`` of the same checkpoint. `rerank` takes candidates of a collection and needs a
    ``patch_source``.

    `sightline.CrossEncoder` is another name for this class. ``arank``, ``apredict`` and ``aencode`` are
    `rank`, `predict` and `encode` for asyncio.
    """

    def __init__(
        self,
        model: Matcher | str | PathLike[str],
        patch_source: PatchSource | None = None,
        encoder: Encoder | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        revision: str | None = None,
        cache_folder: str | PathLike[str] | None = None,
        max_length: int | None = None,
        batch_size: int = _BATCH,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        calibration: Calibration | None = None,
    ) -> None:
        """``model``: one that is loaded, or the name of one to load, as `from_pretrained` takes it.

        ``cache_folder``: the hub's; None: where the hub keeps its files. ``max_length``: no model is cut
        shorter than it reads; `InputError` for less. ``calibration``: of match probabilities, taken as it is;
        None: that of the checkpoint.
        """
        options = Loading(device, dtype, revision, cache_folder)
        matcher, encoder = loaded(model, encoder, options)
        check_length(matcher, max_length)
        if encoder is not None and encoder.fingerprint != matcher.fingerprint:
            raise InputError("The encoder and the matcher are of different checkpoints; give one for both.")
        super().__init__(matcher, encoder, batch_size, limits, calibration)
        self._patch_source = patch_source
        self._clock = clock

    @classmethod
    def from_pretrained(
        cls,
        model: str | PathLike[str],
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
    ) -> Self:
        """Load a model for `rank`, `predict` and `encode`: a folder, a name on the hub, or ``demo``.

        ``device`` (cpu, cuda, …) and ``dtype`` of the image encoder: None picks the best that is there.
        Errors as in ``sightline.blip.load``.
        """
        return cls(model, revision=revision, device=device, dtype=dtype)

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


CrossEncoder = Reranker
"""For programs that were written with sentence-transformers."""
