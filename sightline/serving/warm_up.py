"""Loading models behind the server's back, so that the first query need not wait and /readyz can tell."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import SightlineError, UnavailableError

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.serving.models import Models
    from sightline.serving.scheduler import Scheduler
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0
"""A database or a hub that is away is asked again so soon."""


@dataclass(frozen=True)
class ModelStatus:
    """Whether the served models can answer now, and one sentence for a person."""

    ready: bool
    detail: str


class WarmUp:
    """Loads the model of every collection that exists, in a thread of its own."""

    def __init__(self, catalog: Catalog, models: Models, scheduler: Scheduler) -> None:
        self._catalog = catalog
        self._models = models
        self._scheduler = scheduler
        self._status = ModelStatus(True, "models are loaded when they are first needed")

    def start(self) -> None:
        """Begin; returns at once."""
        self._status = ModelStatus(False, "models are being loaded")
        threading.Thread(target=self._run, daemon=True, name="warm-up").start()

    def status(self) -> ModelStatus:
        """How far it is; never blocks."""
        return self._status

    def _run(self) -> None:
        """Once, and again for as long as something that it needs is away for a while."""
        while not self._loaded():
            time.sleep(AGAIN_SECONDS)

    def _loaded(self) -> bool:
        """Whether there is nothing to be tried again."""
        try:
            collections = _one_for_each_model(self._catalog.collections())
            for collection in collections:
                model = self._models.encoder(collection)
                with self._scheduler.admit() as admitted:
                    _run_once(admitted.share(model))
        except Exception as error:  # whatever it was: a thread that dies silently would never become ready
            log.exception("a model cannot be loaded")
            detail = (
                str(error) if isinstance(error, SightlineError) else "A model cannot be loaded; see the log."
            )
            self._status = ModelStatus(False, detail)
            return not isinstance(error, UnavailableError)
        self._status = ModelStatus(True, f"{len(collections)} of {len(collections)} models loaded")
        return True


def _run_once(model: RetrievalModel) -> None:
    """What a first query would pay for: lazy kernels, the tokenizer, folded weights.

    In the thread that will answer queries: its helpers are started, too.
    """
    import torch

    model.encode_text(["a picture"])
    model.match(["a picture"], torch.zeros(1, *model.patch_shape))


def _one_for_each_model(collections: list[Collection]) -> list[Collection]:
    return list({collection.fingerprint: collection for collection in collections}.values())
