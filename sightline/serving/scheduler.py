"""One thread computes for all requests of a process, in a fair order and with a bounded queue.

Sixty-four threads that run a model at once fight for two cores; one thread that owns the model uses both.
Requests enter through ``admit`` (or are refused at once), get a model that looks like any other, and wait for
their turns in it. See sightline/serving/queue.py for who is next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from sightline.blip.arithmetics import SeveralArithmetics
from sightline.blip.protocols import StagedMatcher
from sightline.errors import OverloadedError, StoppingError
from sightline.serving.computing import encode, fail, run, still_wanted
from sightline.serving.queue import Text, Ticket, Turn, TurnQueue, WaitCounter
from sightline.serving.shared_model import NOTHING, SharedModel, SharedStages

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import RetrievalModel
    from sightline.serving.queue import QueueFigures
    from sightline.serving.settings import ServingSettings

Clock = Callable[[], float]
Result = TypeVar("Result")

client_gone: ContextVar[threading.Event | None] = ContextVar("sightline_client_gone", default=None)
"""Set when whoever asked has hung up; None where nobody can. Read when a request is admitted."""

ANSWER_SECONDS = 2.0
"""How long whoever waits for the call that runs goes on waiting in a process that stops."""
CLOSE_SECONDS = 10.0
"""How long such a process then waits for the call itself: encoding pictures again can take longer."""


class Scheduler:
    """Thread-safe. Its thread starts with the first call and ends with ``close``."""

    def __init__(self, settings: ServingSettings, clock: Clock = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._queue = TurnQueue(settings.text_batch)
        self._changed = threading.Condition()
        self._waits = WaitCounter()
        self._inside = 0
        self._computing: Sequence[Turn | Text] = ()
        self._draining = False
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def text_batch(self) -> int:
        """Texts that are encoded together, at most."""
        return self._settings.text_batch

    @contextmanager
    def admit(self) -> Iterator[Admission]:
        """A place for one request, as long as the block lasts.

        Raises:
            OverloadedError: as many requests as may wait do so already.
            StoppingError: this process is being stopped.
        """
        with self._changed:
            if self._draining:
                raise _closing()
            if self._inside >= self._settings.max_waiting:
                self._waits.refused += 1
                raise OverloadedError(
                    f"{self._inside} requests wait for the model already, and no more may; try again soon."
                )
            self._inside += 1
        ticket = Ticket(client_gone.get())
        try:
            yield Admission(self, ticket)
        finally:
            with self._changed:
                self._inside -= 1
                self._waits.observe(ticket.waited)

    def figures(self) -> QueueFigures:
        """How long the queue is, and how long requests have waited in it."""
        with self._changed:
            return self._waits.figures(self._inside, len(self._queue))

    def drain(self) -> None:
        """Let nobody in any more, and tell those for whom nothing was computed yet; the others go on."""
        with self._changed:
            self._draining = True
            left = self._queue.drain(begun=False)
        for one in left:
            fail(one, _closing())

    def close(self) -> None:
        """Stop computing; whoever still waits is told. The call that runs may end, if it does so soon."""
        with self._changed:
            self._draining = self._closed = True
            left = self._queue.drain()
            self._changed.notify_all()
            thread = self._thread
        for one in left:
            fail(one, _closing())
        if thread is not None:
            thread.join(ANSWER_SECONDS)
            for one in self._computing:
                fail(one, _closing())
            thread.join(CLOSE_SECONDS)

    def moment(self, milliseconds: float | None) -> float:
        """So long from now, on this scheduler's clock; None is never."""
        return float("inf") if milliseconds is None else self._clock() + milliseconds / 1000

    def turn(self, ticket: Ticket, run: Callable[[], Any], droppable: bool = False) -> Any:
        """Wait for a turn of this request and give the result of ``run``."""
        turn = Turn(ticket, run, self._clock(), droppable)
        self._enqueue(turn)
        return turn.outcome.result()

    def texts(self, ticket: Ticket, model: RetrievalModel, texts: Sequence[str]) -> Tensor:
        """Wait for text vectors ``[T,D]``; they are computed together with what else waits."""
        text = Text(ticket, model, tuple(texts), self._clock())
        self._enqueue(text)
        vectors: Tensor = text.outcome.result()
        return vectors

    def _enqueue(self, one: Turn | Text) -> None:
        with self._changed:
            if self._closed or (self._draining and not one.ticket.begun):
                raise _closing()
            if isinstance(one, Turn):
                self._queue.add_turn(one)
            else:
                self._queue.add_text(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._compute, daemon=True, name="model")
                self._thread.start()
            self._changed.notify_all()

    def _compute(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._queue))
                if self._closed:
                    return
                taken = self._queue.take()
                now = self._clock()
                self._computing = taken if isinstance(taken, list) else [taken]
                for one in self._computing:
                    one.ticket.waited += now - one.since
                    one.ticket.begun = True
                if isinstance(taken, list):
                    self._waits.text_batches += 1
            if isinstance(taken, Turn):
                run(taken, now)
            elif wanted := still_wanted(taken):
                encode(wanted)
            self._computing = ()
            self._waits.busy_seconds += self._clock() - now  # by this thread alone


class Admission:
    """One request that was let in."""

    def __init__(self, scheduler: Scheduler, ticket: Ticket) -> None:
        self._scheduler = scheduler
        self._ticket = ticket
        self._encoded: dict[str, dict[str, Tensor]] = {}
        """By a model's fingerprint and the text."""

    def encode(self, model: RetrievalModel, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """Vectors ``[D]`` of texts, together and in batches, with others in between. The model that `share`
        gives afterwards knows them.
        """
        known = self._encoded.setdefault(model.fingerprint, {})
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        most = self._scheduler.text_batch
        for start in range(0, len(fresh), most):
            some = fresh[start : start + most]
            known.update(zip(some, self._scheduler.texts(self._ticket, model, some), strict=True))
        return known

    def share(self, model: RetrievalModel, deadline_ms: float | None = None) -> SharedModel:
        """The model, waiting for this request's turns in every call that computes.

        ``deadline_ms`` counts from here; pairs that still wait then are not scored any more.
        """
        self.until(deadline_ms)
        # The scores of one request are compared with one another; its texts go together with those of others.
        known = self._encoded.get(model.fingerprint, NOTHING)
        judge = model.pinned() if isinstance(model, SeveralArithmetics) else model
        if isinstance(judge, StagedMatcher):
            return SharedStages(judge, judge, self._scheduler, self._ticket, model, known)
        return SharedModel(judge, self._scheduler, self._ticket, model, known)

    def until(self, deadline_ms: float | None) -> None:
        """From now on, what of this request can be dropped is, so many milliseconds later; None: never."""
        self._ticket.deadline = self._scheduler.moment(deadline_ms)

    def turn(self, run: Callable[[], Result], droppable: bool = False) -> Result:
        """``run()`` by the scheduler's thread, when it is this request's turn.

        Raises:
            DeadlineError: it is ``droppable``, and the request's time was up before.
        """
        result: Result = self._scheduler.turn(self._ticket, run, droppable)
        return result


def _closing() -> StoppingError:
    return StoppingError("This process is being stopped; ask again once it is back.")
