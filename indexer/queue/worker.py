"""The worker process: Celery without fork, started from Python.

One process, one thread that works (``--pool solo``), one model. The first SIGTERM or SIGINT finishes the
batch in hand and exits with 0; a second SIGINT drops it, and its lease is given back.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

from celery import Celery, signals
from celery.platforms import SecurityWarning

from sightline.indexer.names import worker_name

log = logging.getLogger(__name__)


def run_worker(app: Celery, *, log_level: str = "INFO", name: str | None = None) -> int:
    """Work until told to stop; returns the exit status (0 after a warm stop).

    Must run in the main thread of its process, whose logging is set up: it installs signal handlers.
    """
    # Celery warns superusers about pickle; only JSON is accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    signals.setup_logging.connect(_keep_our_logging, weak=False)
    worker: Any = app.Worker(
        hostname=name or f"sightline@{worker_name()}",
        pool="solo",
        concurrency=1,
        loglevel=log_level,
        quiet=True,
        without_heartbeat=True,
        without_gossip=True,
        without_mingle=True,
    )
    log.info("worker starts", extra={"worker": worker.hostname})
    worker.start()
    log.info("worker stopped", extra={"worker": worker.hostname, "exit_status": worker.exitcode})
    return int(worker.exitcode or 0)


def _keep_our_logging(*args: object, **kwargs: object) -> None:
    """Celery configures logging only when nobody listens to this signal."""
