"""Following a job from the command line: counts, a bar on a terminal, a worker when nobody else works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sightline.cli.bars import progress_bars
from sightline.console import remarks
from sightline.index_run import POLL_SECONDS, PRESENCE_SECONDS, following
from sightline.indexer.pruning import NOT_PRUNED
from sightline.indexer.queue.presence import worker_is_alive
from sightline.indexer.registration import ID_TAKEN

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sightline.processes.supervisor import Supervisor
    from sightline.store.work_records import ItemError
    from sightline.store.work_records import Progress as Counts
    from sightline.wiring import Installation

ERRORS_SHOWN = 1000


class EmbeddedWorker:
    """Starts a worker and a builder when there is work and no worker; they end with the supervisor.

    The builder comes along because it is what finds work whose message was lost, or whose worker was killed.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._services: Installation | None = None
        self._looked = float("-inf")
        self.started = False

    def attach(self, services: Installation) -> None:
        """Where to look for other workers."""
        self._services = services

    def ensure(self) -> None:
        """Look whether somebody works, every few seconds at most, and start our own worker if not."""
        if self.started:
            self._supervisor.check()
            return
        if self._services is None or time.monotonic() - self._looked < PRESENCE_SECONDS:
            return
        self._looked = time.monotonic()
        if not worker_is_alive(self._services.catalog):
            self.started = True
            for name in ("worker", "builder"):
                self._supervisor.start(name, name)


def follow(
    services: Installation, job_id: str, worker: EmbeddedWorker | None, what: str = "embedding"
) -> Counts:
    """Wait until the job has ended, showing how far it is on a terminal. ``what`` its workers do.

    Raises:
        UnavailableError: its workers have met nothing but trouble for a while (a full disk, say).
    """

    def turn() -> None:
        if worker is not None:
            worker.ensure()
        time.sleep(POLL_SECONDS)

    with progress_bars() as bar:
        task = bar.add_task(what, total=None)
        said: str | None = None
        for counts in following(services, job_id, turn):
            _move(bar, task, counts)
            if counts.detail is not None and counts.detail != said:
                remarks().print(counts.detail, style="yellow", markup=False)
            said = counts.detail
    return counts


def wait(services: Installation, job_id: str, worker: EmbeddedWorker, what: str = "embedding") -> None:
    """Until the job has ended; who presses Ctrl-C is told that nothing is lost. Raises as `follow`."""
    try:
        follow(services, job_id, worker, what)
    except KeyboardInterrupt:
        remarks().print(
            f"Stopping after the batch in hand; the rest of job {job_id} waits for the next worker."
        )
        raise


def _move(bar: Progress, task: TaskID, counts: Counts) -> None:
    bar.update(task, completed=counts.total - counts.pending, total=counts.total)


def all_errors(services: Installation, job_id: str) -> Iterator[ItemError]:
    """Every failure of a job, read page by page. NotFoundError."""
    cursor: str | None = None
    while True:
        page = services.catalog.job_error_page(job_id, cursor, ERRORS_SHOWN)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def report(services: Installation, job_id: str) -> dict[str, Any]:
    """What became of a job, as ``index --json`` prints it: first failures, and how many more there are."""
    found = services.catalog.job_report(job_id, ERRORS_SHOWN)
    reasons = services.catalog.job_reasons(job_id)
    return {
        "job": found.job.id,
        "kind": found.job.kind,
        "collection": found.job.collection,
        **asdict(found.progress),
        "id_taken": reasons.get(ID_TAKEN, 0),
        "not_pruned": reasons.get(NOT_PRUNED, 0),
        "found": list(found.job.request.get("found", ())),
        "skipped": found.job.skipped,
        "known_broken": found.job.known_broken,
        "errors": [asdict(e) for e in found.errors],
        "errors_left_out": max(0, found.progress.failed - len(found.errors)),
    }
