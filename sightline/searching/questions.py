"""What is asked of a collection, in a form that finds candidates and judges them.

A text is one kind of question. Whoever answers (a search that puts the best first, or one that counts) only
knows this contract, so that every kind of question can be answered in every way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sightline.explanations import Explanation
    from sightline.reranker.records import Candidate, Ranked, Watch
    from sightline.retriever.records import Retrieved
    from sightline.searching.cascades import Knowledge
    from sightline.searching.fusion import Fused
    from sightline.searching.reading import Reading
    from sightline.searching.stopwatch import Stopwatch


@dataclass(frozen=True)
class Found:
    """Candidates of a question: as the index found them, and as they are to be judged."""

    retrieved: Retrieved
    fused: Fused


class Question(Protocol):
    """For one search, in one thread."""

    @property
    def truncated(self) -> bool:
        """Whether a text of it is longer than the model reads."""
        ...

    @property
    def reading(self) -> Reading:
        """What the model makes of its words (`sightline.searching.reading.reading_of` its texts)."""
        ...

    def retrieve(self, wanted: int, judged: int, clock: Stopwatch) -> Found:
        """The best ``wanted`` candidates by ITC; ``judged`` of them, or what words brought in their place,
        form the head that is to be judged."""
        ...

    def knowledge(self, head: Sequence[Candidate]) -> Knowledge:
        """What is known of who of them need not be judged."""
        ...

    def judge(
        self,
        candidates: Sequence[Candidate],
        known: Knowledge,
        left_ms: float | None = None,
        watch: Watch | None = None,
    ) -> list[Ranked]:
        """All ``candidates``, the best first; what ITM did not score in ``left_ms`` stands below the rest."""
        ...

    def explain(self, keys: Sequence[int]) -> Mapping[int, Explanation]:
        """Why the images of these keys match, by key, where that was asked for and can be told in time."""
        ...

    def degraded(self) -> tuple[str, ...]:
        """What judging had to do without by now, one sentence each."""
        ...
