"""Which calibration match probabilities have: one that was fitted for the collection, or the checkpoint's."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

from sightline.blip.calibrated import calibration_of
from sightline.blip.calibration import parse
from sightline.blip.checkpoint_words import calibration_on_disk

if TYPE_CHECKING:
    from sightline.blip.calibration import Calibration
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection

log = logging.getLogger(__name__)


class Calibrations:
    """Of an installation's collections. Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def name_of(self, collection: Collection) -> str:
        """Names that one, without its model in memory: other numbers, another name.

        Raises:
            CheckpointError: the checkpoint's cannot be used.
        """
        stored = self._catalog.newest_calibration(collection.id, collection.fingerprint)
        if stored is not None and stored.kind != "default":
            return f"fitted {stored.version}"
        numbers = json.dumps(calibration_on_disk(collection.model).to_json(), sort_keys=True)
        return f"own {hashlib.sha256(numbers.encode()).hexdigest()[:16]}"

    def of(self, collection: Collection, model: object) -> Calibration:
        """The newest that was fitted for a collection and its model; else that of the checkpoint."""
        stored = self._catalog.newest_calibration(collection.id, collection.fingerprint)
        if stored is None or stored.kind == "default":
            return calibration_of(model)
        try:
            return parse(stored.parameters)
        except ValueError as error:
            log.warning(
                "The calibration %d of collection %s %s; probabilities are the model's own. Fit it again.",
                stored.version, collection.name, error,
            )  # fmt: skip
            return calibration_of(model)
