"""From the candidates of one text to their order: all judged, or as a cascade's course says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.blip.calibration import PLAIN, Calibration
from sightline.blip.protocols import StagedMatcher
from sightline.errors import InputError
from sightline.reranker.judging import Judge, Pace, Scored, ranking_score
from sightline.reranker.records import Candidate, PatchSource, Ranked, Watch
from sightline.reranker.samples import Recorder, Sample
from sightline.reranker.staged import StagedJudge

if TYPE_CHECKING:
    from sightline.blip.protocols import Matcher
    from sightline.records import Effort, Precision, ScoreName
    from sightline.reranker.cascade import Cascade, Course

Record = Callable[[Sample], None]
"""Is given what a cascade can learn from."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What one call wants. ``candidates`` in ITC order; the best ``again`` of the order in float32, too."""

    text: str
    candidates: Sequence[Candidate]
    score: ScoreName
    again: int
    course: Course | None
    watch: Watch | None
    record: Record | None
    calibration: Calibration = PLAIN


def course_of(
    cascade: Cascade | None, matcher: Matcher, effort: Effort | None, top: int, precision: Precision
) -> Course | None:
    """How to go when the best ``top`` count; None: all through all layers.

    Raises:
        InputError: the cascade was learned for another model.
    """
    # Who asks for exact scores and says no more wants all of them.
    if cascade is None or effort == "full" or (effort is None and precision == "exact"):
        return None
    if cascade.fingerprint != matcher.fingerprint:
        raise InputError("The cascade was learned for another model than this matcher's; fit one for it.")
    if not isinstance(matcher, StagedMatcher) or not _fits(cascade, matcher):
        return None
    return cascade.course(effort, top)


def _fits(cascade: Cascade, matcher: StagedMatcher) -> bool:
    """Whether its probes can read the matcher's states."""
    return cascade.layers == matcher.match_layers and cascade.width in (0, matcher.match_width)


class Ordering:
    """For one call, in one thread."""

    def __init__(self, matcher: Matcher, source: PatchSource, batch_size: int, pace: Pace) -> None:
        self._matcher = matcher
        self._source = source
        self._batch_size = batch_size
        self._pace = pace

    def of(self, asked: Asked) -> list[Ranked]:
        """All candidates: those that were scored, best first, then the others in ITC order."""
        if asked.course is not None and isinstance(self._matcher, StagedMatcher):
            scored, reached = self._staged(self._matcher, asked, asked.course)
        else:
            scored, reached = self._full(asked)
        best = ranked(asked.score, asked.candidates, scored, reached)
        if asked.again and not self._matcher.matches_exactly:
            judge = Judge(self._matcher, self._source, asked.text, self._pace, calibration=asked.calibration)
            again = judge.score([one.key for one in best[: asked.again]], "exact")
            head = ranked(asked.score, asked.candidates, again, reached)
            best = head + [one for one in best if one.key not in again]
        rest = [one for one in asked.candidates if one.key not in scored]
        return best + [unscored(one, reached.get(one.key, 0)) for one in rest]

    def _full(self, asked: Asked) -> tuple[dict[int, Scored], Mapping[int, int]]:
        """The scores of all that could be had in time, and through how many layers each went."""
        staged = self._matcher if isinstance(self._matcher, StagedMatcher) else None
        layers = 0 if staged is None else staged.match_layers
        recorder = None if staged is None or asked.record is None else Recorder(staged, asked.text)
        judge = Judge(self._matcher, self._source, asked.text, self._pace, recorder, asked.calibration)

        def told(scored: dict[int, Scored]) -> None:
            if asked.watch is not None:
                asked.watch(ranked(asked.score, asked.candidates, scored, dict.fromkeys(scored, layers)))

        scored = judge.score([one.key for one in asked.candidates], "fast", told)
        sample = None if recorder is None else recorder.sample(asked.candidates)
        if sample is not None and asked.record is not None:
            asked.record(sample)
        return scored, dict.fromkeys(scored, layers)

    def _staged(
        self, matcher: StagedMatcher, asked: Asked, course: Course
    ) -> tuple[dict[int, Scored], Mapping[int, int]]:
        judge = StagedJudge(
            matcher, self._source, asked.text, course, asked.score, self._batch_size, asked.calibration
        )

        def told(scored: dict[int, Scored]) -> None:
            if asked.watch is not None:
                reached = dict.fromkeys(scored, course.of)
                asked.watch(ranked(asked.score, asked.candidates, scored, reached))

        pairs = judge.score(asked.candidates, told)
        scored = {pair.key: pair.scored for pair in pairs if pair.scored is not None}
        return scored, {pair.key: pair.layers for pair in pairs}


def ranked(
    score: ScoreName,
    candidates: Sequence[Candidate],
    scored: Mapping[int, Scored],
    layers: Mapping[int, int],
) -> list[Ranked]:
    """The scored candidates, best first. Ties: by key."""
    found = [
        Ranked(
            one.key,
            ranking_score(score, scored[one.key].logit, one.itc),
            one.itc,
            one.itc_rank,
            scored[one.key].logit,
            scored[one.key].probability,
            layers[one.key],
            scored[one.key].raw,
        )
        for one in candidates
        if one.key in scored
    ]
    return sorted(found, key=lambda one: (-one.score, one.key))


def unscored(candidate: Candidate, layers: int = 0) -> Ranked:
    """A candidate that keeps its ITC order."""
    itc = candidate.itc
    return Ranked(candidate.key, itc, itc, candidate.itc_rank, None, None, layers)
