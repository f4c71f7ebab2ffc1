"""Whether any worker is alive, told through one row of the catalog.

Every worker tries to hold the row and renews it; one does. When it dies, the row expires and another worker
takes it. So when nobody holds the row, there is no worker (or none that lived through the last seconds).
Whether the living ones work is another question: ``unattended``.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import TYPE_CHECKING

from sightline.errors import SightlineError
from sightline.indexer.names import BUILDER

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog

log = logging.getLogger(__name__)

NAME = "worker-presence"
HOLD_SECONDS = 15.0
RENEW_SECONDS = 4.0
LOOKS, BETWEEN_SECONDS = 2, 0.3


def worker_is_alive(catalog: Catalog) -> bool:
    """Whether any worker has shown itself lately."""
    return catalog.singleton_is_held(NAME)


def builder_is_alive(catalog: Catalog) -> bool:
    """Whether the builder's lease is held."""
    return catalog.singleton_is_held(BUILDER)


def unattended(catalog: Catalog, seconds: float) -> str | None:
    """A sentence when some work has waited for longer than that and nobody has any in hand; else None."""
    for look in range(LOOKS):
        if look:
            time.sleep(BETWEEN_SECONDS)  # a busy worker has nothing in hand for a moment after each batch
        backlog = catalog.backlog()
        if backlog.leased or backlog.ready_seconds <= seconds:
            return None
    who = "the workers take none of it" if worker_is_alive(catalog) else "no worker is running"
    return f"Pictures have waited for {backlog.ready_seconds:.0f} seconds, and {who}."


class Presence:
    """In a worker: shows that it is there until left. A context manager."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._owner = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="presence")

    def __enter__(self) -> Presence:
        self._show()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=RENEW_SECONDS)
        self._quietly_release()

    def _run(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            self._show()

    def _show(self) -> None:
        try:
            if not self._catalog.renew_singleton(NAME, self._owner, HOLD_SECONDS):
                self._catalog.acquire_singleton(NAME, self._owner, HOLD_SECONDS)
        except SightlineError as error:
            # The database is away for a moment: nobody is helped by a worker that dies of that.
            log.warning("presence cannot be shown", extra={"error": str(error)})

    def _quietly_release(self) -> None:
        try:
            self._catalog.release_singleton(NAME, self._owner)
        except SightlineError:
            return
