"""From the patches of some keys to scores: the candidates of one text, judged in the time that there is.

What turns logits and cosines into scores are pure functions (docs/scoring.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from sightline.blip.calibration import PLAIN, Calibration
from sightline.errors import (
    CorruptionError,
    DeadlineError,
    ImageRejected,
    InputError,
    NotFoundError,
    UnavailableError,
)
from sightline.records import Effort, Precision, ScoreName
from sightline.reranker.records import PatchSource

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import Matcher
    from sightline.reranker.samples import Recorder

log = logging.getLogger(__name__)


class Scored(NamedTuple):
    """What ITM says of a pair."""

    logit: float
    probability: float
    """Calibrated."""
    raw: float
    """The softmax itself."""


class Judge:
    """For one call, in one thread."""

    def __init__(
        self,
        matcher: Matcher,
        source: PatchSource,
        text: str,
        pace: Pace,
        recorder: Recorder | None = None,
        calibration: Calibration = PLAIN,
    ) -> None:
        """``recorder``: scores in place of the matcher, but in float32."""
        self._recorder = recorder
        self._calibration = calibration
        self._matcher = matcher
        self._source = source
        self._text = text
        self._pace = pace

    def score(
        self,
        keys: Sequence[int],
        precision: Precision = "fast",
        watch: Callable[[dict[int, Scored]], None] | None = None,
    ) -> dict[int, Scored]:
        """What was scored in time, by key, from the first key on; ``watch`` is told after every batch."""
        scored: dict[int, Scored] = {}
        start = 0
        if precision == "exact":
            self._pace.slow_down()
        while start < len(keys) and (size := self._pace.next_batch()):
            batch = keys[start : start + size]
            try:
                scored.update(self._score_batch(batch, precision))
            except DeadlineError:
                break  # the model was not free in time: others use it as well
            self._pace.done(len(batch))
            start += len(batch)
            if watch is not None:
                watch(scored)
        return scored

    def _score_batch(self, keys: Sequence[int], precision: Precision) -> dict[int, Scored]:
        import torch

        scored: dict[int, Scored] = {}
        for found, patches in gathered(self._source, keys):
            with torch.inference_mode():
                logits = self._match(found, patches.to(self._matcher.device), precision)
                scored.update(zip(found, match_scores(logits, self._calibration), strict=True))
        return scored

    def _match(self, keys: Sequence[int], patches: Tensor | Latents, precision: Precision) -> Tensor:
        if self._recorder is not None and precision == "fast":
            return self._recorder.match(keys, patches)
        return self._matcher.match([self._text], patches, precision)


def gathered(source: PatchSource, keys: Sequence[int]) -> list[tuple[list[int], Tensor | Latents]]:
    """Keys with their patches ``[K,P,V]``, in groups of one form; without what cannot be had."""
    try:
        groups = source.patches(keys)
    except (NotFoundError, CorruptionError, ImageRejected) as error:
        if len(keys) == 1:
            log.warning("Key %d keeps its ITC place, its patches cannot be had: %s", keys[0], error)
            return []
        # One lost picture must not cost its neighbours their score.
        return [found for key in keys for found in gathered(source, [key])]
    return [([keys[row] for row in group.rows], group.patches) for group in groups]


_PROBE: Final = 4
"""Size of the first batch under a deadline, when nothing is known about the machine yet."""


class Pace:
    """Measures batches and fits the next one into the time that is left. For one call, in one thread."""

    def __init__(self, batch_size: int, deadline_ms: float | None, clock: Callable[[], float]) -> None:
        self._batch_size = batch_size
        self._clock = clock
        self._started = self._batch_started = clock()
        self._ends = None if deadline_ms is None else self._started + deadline_ms / 1000
        self._per_item = 0.0
        self._probing = True

    def slow_down(self) -> None:
        """What comes next takes longer, nobody knows how much; the deadline stays."""
        self._probing = True

    def next_batch(self) -> int:
        """How many to score now; 0 when the time is up. Starts the batch."""
        self._batch_started = self._clock()
        if self._ends is None:
            return self._batch_size
        left = self._ends - self._batch_started
        if left <= 0:
            return 0
        most = min(_PROBE, self._batch_size) if self._probing else self._batch_size
        return int(min(most, left / self._per_item)) if self._per_item > 0 else most

    def done(self, items: int) -> None:
        """The batch that `next_batch` started is finished."""
        # The latest batch speaks for the next one: the first ones are slower (caches, lazy loading).
        self._probing = False
        self._per_item = (self._clock() - self._batch_started) / items


def checked_text(text: object) -> str:
    """The text itself; `InputError` unless it is a string with something in it."""
    if not isinstance(text, str):
        raise InputError(f"The text must be a string, not {type(text).__name__}.")
    if not text.strip():
        raise InputError("The text is empty.")
    return text


def checked_score(score: str) -> ScoreName:
    """The name itself; `InputError` unless it is one of the three."""
    for name in get_args(ScoreName):
        if score == name:
            return name  # type: ignore[no-any-return]
    raise InputError(f"There is no score named {score!r}; choose itm+itc, itm or itc.")


def checked_precision(precision: str) -> Precision:
    """The name itself; `InputError` unless it is one of the two."""
    for name in get_args(Precision):
        if precision == name:
            return name  # type: ignore[no-any-return]
    raise InputError(f"There is no precision named {precision!r}; choose fast or exact.")


def checked_effort(effort: str | None) -> Effort | None:
    """The name itself, or None; `InputError` unless it is one of the three."""
    for name in (None, *get_args(Effort)):
        if effort == name:
            return name  # type: ignore[no-any-return]
    raise InputError(f"There is no effort named {effort!r}; choose full, auto or quick.")


def ranking_score(score: ScoreName, itm_logit: float, itc: float) -> float:
    """Averaged match logit + ITC cosine is what LAVIS evaluates with; either alone on request."""
    if score == "itc":
        return itc
    return itm_logit + itc if score == "itm+itc" else itm_logit


def match_scores(logits: Tensor, calibration: Calibration = PLAIN) -> list[Scored]:
    """What each pair scores, from logits ``[K,2]`` averaged over the query tokens.

    The raw probability is the softmax over the two, taken once; the other what a calibration makes of it.
    `UnavailableError` when a logit is not finite, because an order made from it would mean nothing.
    """
    wide = logits.double()
    if not bool(wide.isfinite().all()):
        raise UnavailableError("The model gave a match logit that is no number: load it in float32.")
    raw = wide.softmax(dim=1)[:, 1].tolist()
    if calibration == PLAIN:
        return [Scored(logit, found, found) for logit, found in zip(wide[:, 1].tolist(), raw, strict=True)]
    differences = (wide[:, 1] - wide[:, 0]).tolist()
    return [
        Scored(logit, calibration.probability(difference), plain)
        for logit, difference, plain in zip(wide[:, 1].tolist(), differences, raw, strict=True)
    ]
