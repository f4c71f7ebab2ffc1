"""What waits for the model, and who is next: decides nothing but the order.

Two lanes. Texts that wait for one model go together. Everything else (a batch of pairs, pictures to encode)
is one turn, and requests take turns in a circle: a request with a thousand candidates gives way after each
batch, so one with ten waits for at most one batch of everybody before it. When both lanes wait they
alternate, so neither can starve the other.
"""

from __future__ import annotations

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

    def drain(self) -> list[Turn | Text]:
        """Everybody who waits, who then waits no more."""
        everybody: list[Turn | Text] = [*self._texts]
        everybody += [turn for turns in self._turns.values() for turn in turns]
        self._texts.clear()
        self._turns.clear()
        return everybody

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
