"""Keeps saved searches up to date beside the builder: judges what comes, and tells webhooks of new members.

Any number of processes may do so at once, on several machines: a lease for each collection saves work, and
what is kept is checked against what it was judged from (`sightline.store.sql.saved_judging`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sightline.errors import SightlineError, UnavailableError
from sightline.indexer.names import worker_name
from sightline.indexer.troubles import trouble_of

if TYPE_CHECKING:
    from sightline.searching.saved_judging import SavedJudging
    from sightline.searching.settings import SavedSettings
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.upkeep.webhooks import Webhooks

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 120.0
"""Longer than one batch takes: renewed before each."""
PATIENCE_SECONDS: Final = 10.0
"""How long a process that stops waits for the batch in hand; what it had judged is judged again."""
SELDOM: Final = 10
"""Pictures that could not be judged are tried again so many times as seldom as what went wrong otherwise."""


class SavedWatch:
    """One for each process that runs it. ``webhooks``: None where they are not called."""

    def __init__(
        self,
        catalog: Catalog,
        judging: SavedJudging,
        webhooks: Webhooks | None,
        settings: SavedSettings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._judging = judging
        self._webhooks = webhooks
        self._settings = settings
        self._monotonic = monotonic
        self._owner = worker_name()
        self._rests: dict[int, float] = {}
        """Number of a collection with which something went wrong → when to try again."""
        self._again: dict[int, float] = {}
        """Number of a collection → when to try again what could not be judged."""

    @contextmanager
    def running(self, stop: threading.Event) -> Iterator[None]:
        """In threads of their own, as long as the block lasts and until ``stop`` is set."""
        steps = [("saved", lambda: self.step(stop) > 0)]
        if self._webhooks is not None:
            steps.append(("webhooks", self._webhooks.step))
        threads = [
            threading.Thread(target=self._run, args=(step, stop), daemon=True, name=name)
            for name, step in steps
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)

    def step(self, stop: threading.Event | None = None) -> int:
        """Judges all that waits to be judged, collection after collection; how many pictures.

        ``stop``: ends it after the batch in hand.
        """
        count = 0
        for collection in self._catalog.saved_holders():
            if stop is not None and stop.is_set():
                break
            if self._monotonic() >= self._rests.get(collection.id, -float("inf")):
                count += self._attend(collection, stop)
        return count

    def _run(self, step: Callable[[], bool], stop: threading.Event) -> None:
        while not stop.is_set():
            busy = False
            try:
                busy = step()
            except UnavailableError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("saved searches could not be attended to")
            if not busy:
                stop.wait(self._settings.interval_seconds)

    def _attend(self, collection: Collection, stop: threading.Event | None) -> int:
        """One collection, under its lease; what goes wrong with it must not keep the others waiting."""
        lease = f"saved {collection.id}"
        if not self._catalog.acquire_singleton(lease, self._owner, LEASE_SECONDS):
            return 0
        try:
            return self._judge(collection, lease, stop)
        except (SightlineError, OSError) as error:
            self._note(collection, error)
            return 0
        finally:
            self._catalog.release_singleton(lease, self._owner)

    def _judge(self, collection: Collection, lease: str, stop: threading.Event | None) -> int:
        count = 0
        while judged := self._judging.step(collection):
            count += judged
            stopped = stop is not None and stop.is_set()
            if stopped or not self._catalog.acquire_singleton(lease, self._owner, LEASE_SECONDS):
                return count
        if self._monotonic() >= self._again.get(collection.id, -float("inf")):
            self._judging.again(collection)
            self._again[collection.id] = self._monotonic() + SELDOM * self._settings.rest_seconds
        return count

    def _note(self, collection: Collection, error: SightlineError | OSError) -> None:
        sentence = trouble_of(error) or str(error)
        log.error("Saved searches cannot be asked: %s", sentence, extra={"collection": collection.name})
        self._rests[collection.id] = self._monotonic() + self._settings.rest_seconds
        self._catalog.note_saved_trouble(collection.id, sentence)
