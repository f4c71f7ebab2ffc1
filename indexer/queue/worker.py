"""The worker process: Celery without fork, started from Python.

One process, one batch at a time (``--pool solo``, and `Work`), one model. The first SIGTERM or SIGINT
finishes the batch in hand and exits with 0; a second SIGINT drops it, and its lease is given back.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from celery.platforms import SecurityWarning

from sightline.indexer.names import worker_name
from sightline.indexer.queue.stopping import told_to_drop
from sightline.indexer.queue.watchdog import Watchdog

if TYPE_CHECKING:
    from sightline.indexer.queue.work import Work
    from sightline.indexer.tasks import TaskRunner

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2


def run_worker(
    app: Celery, tasks: TaskRunner, work: Work, *, stall_seconds: float, log_level: str = "INFO"
) -> int:
    """Work until told to stop; returns the exit status (0 after a warm stop).

    ``app`` hands what its messages name to ``work``, which does ``tasks``. Must run in the main thread of its
    process, whose logging is set up: it installs signal handlers.
    """
    worker = _celery_worker(app, log_level)
    log.info("worker starts", extra={"worker": worker.hostname})
    with Watchdog(tasks.pulse, stall_seconds):
        work.start()
        worker.start()
        # Celery's thread is done; the batch that was found in SQL may not be.
        while not (dropped := told_to_drop()) and not work.stop(LOOK_SECONDS):
            pass
        if dropped:
            tasks.give_back()
    status = int(worker.exitcode or dropped)
    log.info("worker stopped", extra={"worker": worker.hostname, "exit_status": status})
    return status


def _celery_worker(app: Celery, log_level: str) -> Any:
    # Celery warns superusers about pickle; only JSON is accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    signals.setup_logging.connect(_keep_our_logging, weak=False)
    return app.Worker(
        hostname=f"sightline@{worker_name()}",
        pool="solo",
        concurrency=1,
        loglevel=log_level,
        quiet=True,
        without_heartbeat=True,
        without_gossip=True,
        without_mingle=True,
    )


def _keep_our_logging(*args: object, **kwargs: object) -> None:
    """Celery configures logging only when nobody listens to this signal."""
