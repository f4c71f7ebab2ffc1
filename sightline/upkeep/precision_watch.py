"""Has the models of a server checked behind its back, as soon as a collection has enough pictures.

A model changes its arithmetic without a restart: with the next search. What another process has found out is
taken over.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from sightline.blip.arithmetics import SeveralArithmetics
from sightline.errors import StoppingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sightline.serving.models import Models
    from sightline.serving.scheduler import Scheduler
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.upkeep.precision_check import PrecisionCheck

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 60.0
"""So often it is looked whether there is something to check."""


class PrecisionWatch:
    """Looks in a thread of its own, and computes in the scheduler's turns."""

    def __init__(self, catalog: Catalog, models: Models, scheduler: Scheduler, check: PrecisionCheck) -> None:
        self._catalog = catalog
        self._models = models
        self._scheduler = scheduler
        self._check = check
        self._settled: set[str] = set()
        """Fingerprints of collections' models about which nothing is to be found out any more."""

    def start(self) -> None:
        """Begin; returns at once."""
        threading.Thread(target=self._run, daemon=True, name="precision").start()

    def look(self) -> None:
        """Once over all collections.

        Raises:
            StoppingError: this process is being stopped.
        """
        for collection in self._catalog.collections():
            if collection.fingerprint in self._settled:
                continue
            try:
                self._look_at(collection)
            except StoppingError:
                raise
            except Exception as error:  # whatever it was: pairs are scored in float32 until it is gone
                log.warning("The arithmetic of %s cannot be chosen now: %s", collection.model, error)

    def _run(self) -> None:
        try:
            while True:
                self.look()
                time.sleep(LOOK_SECONDS)
        except StoppingError:
            return

    def _look_at(self, collection: Collection) -> None:
        model = self._models.encoder(collection)
        if not isinstance(model, SeveralArithmetics) or not _has_choice(model):
            self._settled.add(collection.fingerprint)
            return
        known = self._check.known(collection, model)
        if known is not None:
            model.scorers.adopt(known.arithmetic)
            self._settled.add(collection.fingerprint)
            return
        with self._scheduler.admit() as admitted:

            def run(compute: Callable[[], Any]) -> Any:
                return admitted.turn(compute)

            found = self._check.decide(collection, model, _silent, run)
        if found is not None:
            log.info("Pairs of %s are scored in %s from now on", collection.model, found.arithmetic)
            self._settled.add(collection.fingerprint)


def _has_choice(model: SeveralArithmetics) -> bool:
    return model.scorers.is_automatic and bool(model.scorers.offers())


def _silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""
