"""How long the caller can wait for the database: who asks knows it, and the context tells the connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Patience = Literal["request", "work", "upkeep"]
"""``request``: somebody waits for an answer. ``work``: a worker, the builder or a command. ``upkeep``: a
migration, for which other processes wait.
"""

patience: ContextVar[Patience] = ContextVar("sightline_patience", default="work")
"""Threads that a request waits for inherit it; a thread that it leaves behind has the default."""

wait_seconds: ContextVar[float] = ContextVar("sightline_wait_seconds", default=60.0)
"""How long the next wait on a connection may last; set by the database before each step."""


@contextmanager
def having(kind: Patience) -> Iterator[None]:
    """As long as the block lasts, in this thread."""
    token = patience.set(kind)
    try:
        yield
    finally:
        patience.reset(token)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Bounds every single wait of the block, in this thread."""
    token = wait_seconds.set(seconds)
    try:
        yield
    finally:
        wait_seconds.reset(token)
