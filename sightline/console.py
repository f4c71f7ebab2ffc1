"""Where a process speaks to a person: answers on stdout, everything else on stderr."""

from __future__ import annotations

from rich.console import Console


def answers() -> Console:
    """The console of results: stdout."""
    return Console(soft_wrap=False, highlight=False)


def remarks() -> Console:
    """The console of progress, hints and errors: stderr."""
    return Console(stderr=True, highlight=False)
