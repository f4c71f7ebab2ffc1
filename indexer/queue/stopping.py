"""Whether the worker of this process was told to stop: Celery's flags, which its signal handlers set."""

from __future__ import annotations


def told_to_stop() -> bool:
    """Whether no new batch may be begun."""
    from celery.worker import state

    return _set(state.should_stop) or _set(state.should_terminate)


def told_to_drop() -> bool:
    """Whether even the batch in hand is to be dropped."""
    from celery.worker import state

    return _set(state.should_terminate)


def _set(flag: object) -> bool:
    """Celery keeps an exit status in its flags, which may be 0."""
    return flag is not None and flag is not False
