"""Trouble that is nobody's fault but the surroundings': a full disk, a database that is away.

It costs a healthy picture none of its tries: the task is given back, whoever waits for the job is told, and
the worker tries again a little later, for as long as it takes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from sightline.errors import SightlineError, UnavailableError
from sightline.store.storage import storage_error

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.records import Progress

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5.0


def trouble_of(error: BaseException) -> str | None:
    """One sentence when an error is of this kind, else None."""
    if isinstance(error, UnavailableError):
        return str(error)
    if isinstance(error, OSError):
        translated = storage_error(error, str(error.filename or "the disk"))
        return None if translated is None else str(translated)
    return None


class Troubles:
    """What one worker runs into: told to those who wait, with a pause that grows as long as it lasts."""

    def __init__(self, catalog: Catalog, pause: float) -> None:
        self._catalog = catalog
        self._pause = pause
        self._in_a_row = 0

    def tell(self, job_ids: Iterable[str | None], sentence: str) -> None:
        """Log it, and note it with the jobs; where the catalog itself is the trouble, the log must do."""
        log.error("%s", sentence)
        with suppress(SightlineError):
            for job_id in {one for one in job_ids if one is not None}:
                self._catalog.note_trouble(job_id, sentence)

    def rest(self) -> None:
        """Wait a while."""
        time.sleep(min(self._pause * 2**self._in_a_row, LONGEST_PAUSE_SECONDS))
        self._in_a_row = min(self._in_a_row + 1, 16)

    def over(self) -> None:
        """Something went well again."""
        self._in_a_row = 0


class Waiting:
    """Whoever waits for a job, until its workers have met nothing but trouble for ``patience`` seconds.

    Workers note their trouble in the catalog. When that is what takes nothing any more, ``probe`` tells: it
    writes, for nothing, after each time of patience in which nothing happened.
    """

    def __init__(self, patience: float, probe: Callable[[], object]) -> None:
        self._patience = patience
        self._probe = probe
        self._last: Progress | None = None
        self._changed_at = self._sound_at = self._asked_at = time.monotonic()

    def look(self, progress: Progress) -> None:
        """Raise UnavailableError, which says what the trouble is and what to do, once it has lasted."""
        now = self._asked_at = time.monotonic()
        if progress != self._last:
            self._last, self._changed_at = progress, now
        if progress.detail is None or progress.pending == 0:
            self._sound_at = now
        if now - self._sound_at >= self._patience and progress.detail is not None:
            self._stop(progress, progress.detail)
        if now - self._changed_at >= self._patience and progress.pending:
            self._changed_at = now
            try:
                self._probe()
            except UnavailableError as error:
                self._stop(progress, str(error))

    def unanswered(self, error: UnavailableError) -> None:
        """The catalog could not be asked: raise that, once it has lasted."""
        if time.monotonic() - self._asked_at >= self._patience:
            raise error

    def _stop(self, progress: Progress, sentence: str) -> NoReturn:
        done = progress.indexed + progress.replaced
        raise UnavailableError(
            f"{sentence} {done} images are indexed, {progress.pending} wait: when that is set right, run the "
            "same command again."
        )
