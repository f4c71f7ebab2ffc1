"""All pictures with a match probability of at least τ: judged outward in ITC order until none is to come.

Whoever asks is any `Question`: it finds candidates in growing windows and judges them. A count stops by the
law that was learned on the collection (`sightline.searching.count_law`), or without one far below the last
hit; where everything that passes the filter was judged, the total is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.errors import InputError
from sightline.searching.cascades import Knowledge
from sightline.searching.count_law import Hits, Judged, Law, Left, Numbers, depths, is_deep

if TYPE_CHECKING:
    from sightline.reranker.records import Candidate, Ranked
    from sightline.retriever.records import Retrieved
    from sightline.searching.questions import Question
    from sightline.searching.reading import Reading
    from sightline.searching.stopwatch import Stopwatch

WINDOW: Final = 1_024
"""Candidates that are retrieved first; four times as many whenever they do not suffice."""
_GROWTH: Final = 4
SMALL: Final = 256
"""So few are judged all."""
_DEEPER: Final = 2
"""To so many times the depth at which it could stop goes a count that is learned from."""


@dataclass(frozen=True)
class Plan:
    """How a count goes. ``least``: τ. ``most``: it judges no more. ``law`` None: nothing was learned.

    ``depth``: where another count of the same set ended, so that this one ends there too.
    ``deeper``: goes on for a while after it could stop.
    """

    least: float
    most: int
    exact: bool = False
    law: Law | None = None
    depth: int | None = None
    deeper: bool = False
    deadline_ms: float | None = None


@dataclass(frozen=True, eq=False)
class Counted:
    """``hits``: by falling score, ties by key. ``scored``: how many were judged, the best ``depth`` by ITC.

    ``complete``: everything that passes the filter was judged. ``late``: the time was up. ``retrieved`` says
    what was searched; its candidates are not in it any more. ``truncated``, ``reading``: as of the question.
    ``seen``: what can be learned from; None: nothing.
    """

    hits: tuple[Ranked, ...]
    scored: int
    depth: int
    complete: bool
    late: bool
    retrieved: Retrieved
    degraded: tuple[str, ...]
    truncated: bool
    reading: Reading
    seen: Judged | None = None


class Outward:
    """One count, in one thread."""

    def __init__(self, question: Question, plan: Plan, clock: Stopwatch) -> None:
        self._question = question
        self._plan = plan
        self._clock = clock
        self._judged: dict[int, Ranked] = {}
        self._depth = 0
        self._late = False
        self._stops_at: int | None = plan.depth
        """Once it is known."""
        self._all = plan.exact
        self._order: Sequence[Candidate] = ()
        self._window = 0
        self._widest = max(WINDOW, plan.most)
        self._can_grow = True

    def begin(self) -> Retrieved:
        """Retrieve the first window. `InputError`: an exact count of more than may be judged."""
        found = self._retrieve(WINDOW)
        self._all = self._plan.exact or (found.images <= SMALL and self._plan.depth is None)
        if self._plan.exact and found.images > self._plan.most:
            raise InputError(
                f"An exact count judges all {found.images:,} pictures that pass the filter, and this "
                f"installation judges at most {self._plan.most:,} for one answer: narrow the filter, leave "
                "exact out, or set SIGHTLINE_SERVING__MAX_JUDGED."
            )
        return found

    def count(self, found: Retrieved) -> Counted:
        """Judge from the first window on, and retrieve further ones as they are needed.

        Where the model knows no word of the question nothing is judged: whatever it counted means nothing.
        """
        if self._question.reading.nothing_known:
            self._order = ()
            return self._counted(found)
        while not self._goes_through(found.images) and self._can_grow:
            found = self._retrieve(min(_GROWTH * self._window, self._widest))
        return self._counted(found)

    @property
    def order(self) -> Sequence[Candidate]:
        """The candidates of the last window, by falling ITC."""
        return self._order

    def _retrieve(self, window: int) -> Retrieved:
        found = self._question.retrieve(window, 0, self._clock)
        together = (*found.fused.head, *found.fused.rest)
        self._order = sorted(together, key=lambda one: (one.itc_rank, one.key))
        self._window = window
        # An approximate index may name fewer than there are: then no window brings more.
        self._can_grow = window < min(self._widest, found.retrieved.images) and len(together) >= window
        return found.retrieved

    def _goes_through(self, images: int) -> bool:
        """Judge what was retrieved, the best first; False: more has to be retrieved."""
        end = min(len(self._order), self._plan.most)
        for depth in depths(end):
            if depth < self._depth:
                continue
            if self._stops_at is not None:
                depth = min(depth, max(self._stops_at, self._depth))
            self._judge(depth)
            if self._late or depth == self._plan.most or depth == self._stops_at:
                return True
            if not self._all and self._stops_at is None and not self._may_stop(depth, images):
                return False
            if self._stops_at == depth:
                return True
        return False

    def _judge(self, depth: int) -> None:
        todo = [one for one in self._order[:depth] if one.key not in self._judged]
        left = None if self._plan.deadline_ms is None else self._plan.deadline_ms - self._clock.elapsed_ms()
        ranked = self._question.judge(todo, Knowledge("full"), left) if todo else []
        self._clock.lap("rerank")
        self._judged.update((one.key, one) for one in ranked)
        # What cannot be judged for another reason is passed over; with a deadline the reason is not known.
        self._late = left is not None and any(one.match_probability is None for one in ranked)
        self._depth = depth

    def _may_stop(self, depth: int, images: int) -> bool:
        """Decides whether to stop, at once or later; False: that cannot be told from this window."""
        itc, hits = self._seen(depth)
        law, plan = self._plan.law, self._plan
        if not is_deep(depth, hits, law):
            return True
        if law is not None:
            rest = np.array([one.itc for one in self._order[depth:]], np.float64)
            known, below = law.expected(itc, hits, Left(rest, images - len(self._order)))
            if known + below >= law.most:
                return known >= law.most or not self._can_grow
        self._stops_at = _DEEPER * depth if plan.deeper else depth
        return True

    def _seen(self, depth: int) -> tuple[Numbers, Hits]:
        itc = np.array([one.itc for one in self._order[:depth]], np.float64)
        return itc, np.array([self._is_hit(one.key) for one in self._order[:depth]], np.bool_)

    def _is_hit(self, key: int) -> bool:
        one = self._judged.get(key)
        return one is not None and one.match_probability is not None and (
            one.match_probability >= self._plan.least
        )  # fmt: skip

    def _counted(self, found: Retrieved) -> Counted:
        """Of the last window only: what was found before may be gone by then."""
        there = [self._judged[one.key] for one in self._order if one.key in self._judged]
        scored = [one for one in there if one.match_probability is not None]
        hits = sorted((one for one in scored if self._is_hit(one.key)), key=lambda one: (-one.score, one.key))
        whole = not found.approximate and not found.degraded
        complete = whole and len(scored) == len(self._order) == found.images
        learns = not self._late and len(scored) == self._depth and (complete or self._plan.deeper)
        return Counted(
            tuple(hits), len(scored), len(scored) if self._late else self._depth, complete, self._late,
            replace(found, candidates=[], others=()),
            found.degraded + self._question.degraded(), self._question.truncated, self._question.reading,
            self._learned(scored) if learns else None,
        )  # fmt: skip

    def _learned(self, scored: Sequence[Ranked]) -> Judged:
        itc = np.array([one.itc for one in scored], np.float64)
        return Judged(itc, np.array([one.match_probability for one in scored], np.float64))
