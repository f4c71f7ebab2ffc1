"""What happens between two batches of one call: a bar moves on, and nobody is kept working for nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

from sightline.errors import AbandonedError

Tick = Callable[[int], None]
"""Is told how many more are done, after every batch."""

T = TypeVar("T")
_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


async def in_thread(call: Callable[[], T]) -> T:
    """The result of a call in a thread; when this is cancelled, the call ends after the batch in hand."""
    given_up = threading.Event()
    context = copy_context()
    context.run(_given_up.set, given_up)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, context.run, call)
    finally:
        given_up.set()


@contextmanager
def counting(what: str, total: int | None, shown: bool) -> Iterator[Tick]:
    """A bar on stderr when it is to be shown. Telling it raises AbandonedError when nobody waits any more."""
    if not shown:
        yield _check_wanted
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)

        def tick(count: int) -> None:
            bar.advance(task, count)
            _check_wanted(count)

        yield tick


def _check_wanted(count: int) -> None:
    given_up = _given_up.get()
    if given_up is not None and given_up.is_set():
        raise AbandonedError("Nobody waits for the answer any more; the rest is not judged.")
