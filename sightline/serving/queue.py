"""What waits for the model, who is next, and how long they have waited: decides nothing but the order.

Two lanes. Texts that wait for one model go together. Everything else (a batch of pairs, pictures to encode)
is one turn, and requests take turns in a circle: a request with a thousand candidates gives way after each
batch, so one with ten waits for at most one batch of everybody before it. When both lanes wait they
alternate, so neither can starve the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.blip.protocols import Encoder


@dataclass(eq=False)
class Ticket:
    """One request, from when it is let in until it leaves. Compared by identity."""

    gone: Event | None = None
    """Set when nobody waits for the answer any more."""
    deadline: float = float("inf")
    """On the scheduler's clock: what still waits then is not scored any more."""
    waited: float = 0.0
    """Seconds that its turns and texts have waited so far."""
    begun: bool = False
    """Whether something was computed for it already, or is being computed."""

    @property
    def is_abandoned(self) -> bool:
        """Whether computing for it is in vain."""
        return self.gone is not None and self.gone.is_set()


@dataclass(eq=False)
class Turn:
    """One call of the model for one request."""

    ticket: Ticket
    run: Callable[[], Any]
    since: float
    """When it began to wait, on the scheduler's clock."""
    droppable: bool = False
    """Whether its request can be answered without it, so that its deadline ends it."""
    outcome: Future[Any] = field(default_factory=Future)

    def is_late(self, now: float) -> bool:
        """Whether its request can do without it by now."""
        return self.droppable and now >= self.ticket.deadline


@dataclass(eq=False)
class Text:
    """Texts of one request that want to be encoded."""

    ticket: Ticket
    model: Encoder
    texts: tuple[str, ...]
    since: float
    outcome: Future[Any] = field(default_factory=Future)


class TurnQueue:
    """Both lanes. Not thread-safe: its owner holds a lock."""

    def __init__(self, text_batch: int) -> None:
        self._text_batch = text_batch
        self._texts: deque[Text] = deque()
        self._turns: OrderedDict[Ticket, deque[Turn]] = OrderedDict()
        self._texts_were_last = False

    def __len__(self) -> int:
        """Turns and texts that wait."""
        return len(self._texts) + sum(map(len, self._turns.values()))

    def add_turn(self, turn: Turn) -> None:
        """At the end of the circle, or behind its request's own turns."""
        self._turns.setdefault(turn.ticket, deque()).append(turn)

    def add_text(self, text: Text) -> None:
        """Behind the other texts."""
        self._texts.append(text)

    def take(self) -> Turn | list[Text]:
        """Who is next: a turn, or texts that go together (an empty list when nobody waits)."""
        if self._texts and not (self._texts_were_last and self._turns):
            self._texts_were_last = True
            return self._take_texts()
        self._texts_were_last = False
        return self._take_turn() if self._turns else []

    def drain(self, begun: bool = True) -> list[Turn | Text]:
        """Everybody who waits, who then waits no more; without ``begun`` only those of fresh requests."""
        everybody: list[Turn | Text] = [*self._texts]
        everybody += [turn for turns in self._turns.values() for turn in turns]
        kept = [one for one in everybody if one.ticket.begun and not begun]
        self._texts.clear()
        self._turns.clear()
        for one in kept:
            if isinstance(one, Turn):
                self.add_turn(one)
            else:
                self.add_text(one)
        return [one for one in everybody if begun or not one.ticket.begun]

    def _take_turn(self) -> Turn:
        ticket, turns = self._turns.popitem(last=False)
        turn = turns.popleft()
        if turns:
            self._turns[ticket] = turns
        return turn

    def _take_texts(self) -> list[Text]:
        """The longest waiting, and whatever waits for the same model, up to ``text_batch`` texts."""
        taken: list[Text] = [self._texts.popleft()]
        room = self._text_batch - len(taken[0].texts)
        left: deque[Text] = deque()
        for text in self._texts:
            if text.model is taken[0].model and len(text.texts) <= room:
                taken.append(text)
                room -= len(text.texts)
            else:
                left.append(text)
        self._texts = left
        return taken


WAIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets in which waiting times are counted; one more takes what is beyond."""


@dataclass(frozen=True)
class QueueFigures:
    """The queue in front of the model, now and since the process began."""

    requests: int
    """Requests that were let in and have not been answered."""
    turns: int
    """Their batches and texts that wait at this moment."""
    refused: int
    """Requests that found the queue full."""
    text_batches: int
    """Batches in which texts were encoded."""
    waits: tuple[int, ...]
    """Answered requests by how long they waited: one number for each of WAIT_SECONDS, then the rest."""
    waited_seconds: float
    """Seconds that all answered requests waited together."""
    busy_seconds: float
    """Seconds that the model's thread computed."""


@dataclass
class WaitCounter:
    """Not thread-safe: its owner holds a lock."""

    refused: int = 0
    text_batches: int = 0
    busy_seconds: float = 0.0
    _counts: list[int] = field(default_factory=lambda: [0] * (len(WAIT_SECONDS) + 1))
    _sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """One request has left, after waiting this long in all."""
        self._counts[bisect_left(WAIT_SECONDS, seconds)] += 1
        self._sum += seconds

    def figures(self, requests: int, turns: int) -> QueueFigures:
        """Everything until now."""
        return QueueFigures(
            requests,
            turns,
            self.refused,
            self.text_batches,
            tuple(self._counts),
            self._sum,
            self.busy_seconds,
        )
