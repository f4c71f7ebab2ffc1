"""What the model's thread does with whom it has taken from the queue: an outcome for each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress

from sightline.errors import AbandonedError, DeadlineError
from sightline.serving.queue import Text, Turn


def run(turn: Turn, now: float) -> None:
    """One turn, unless its request does not need it any more."""
    if turn.ticket.is_abandoned:
        fail(turn, _abandoned())
        return
    if turn.is_late(now):
        fail(turn, DeadlineError("The time was up before the model was free."))
        return
    try:
        result = turn.run()
    except BaseException as error:  # whatever it is, it is the request's, whose thread waits for it
        fail(turn, error)
        return
    with suppress(InvalidStateError):  # told by ``close`` meanwhile
        turn.outcome.set_result(result)


def fail(one: Turn | Text, error: BaseException) -> None:
    """Once: ``close`` may be telling the same one."""
    with suppress(InvalidStateError):
        one.outcome.set_exception(error)


def still_wanted(texts: Sequence[Text]) -> list[Text]:
    """Without those that nobody waits for; they are told so."""
    for one in texts:
        if one.ticket.is_abandoned:
            fail(one, _abandoned())
    return [one for one in texts if not one.outcome.done()]


def encode(texts: Sequence[Text]) -> None:
    """All in one batch; when that fails, one after the other, so that an error reaches whom it concerns."""
    model = texts[0].model
    try:
        vectors = model.encode_text([text for one in texts for text in one.texts])
        parts = vectors.split([len(one.texts) for one in texts])
    except BaseException as error:
        if len(texts) == 1:
            fail(texts[0], error)
            return
        for one in texts:
            encode([one])
        return
    for one, part in zip(texts, parts, strict=True):
        with suppress(InvalidStateError):  # told by ``close`` meanwhile
            one.outcome.set_result(part)


def _abandoned() -> AbandonedError:
    return AbandonedError("The client hung up before the answer was ready.")
