"""Whether a model that writes can use the patches that a collection keeps for its own model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.blip.checkpoint import DEMO, TOY, Role, resolve
from sightline.blip.fingerprints import ReadDigests
from sightline.errors import CheckpointError, ModelUnavailableError
from sightline.serving.digests import RememberedDigests

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.captioner.parts import Identified, Transfer
    from sightline.store.records import Collection

log = logging.getLogger(__name__)


class Same:
    """Of one image encoder to the very same."""

    def apply(self, patches: Tensor) -> Tensor:
        """As they are."""
        return patches


class PatchSharing:
    """Compares the image encoders of two checkpoints, each pair once. Thread-safe."""

    def __init__(self, cache_dir: Path | None = None, memory: Path | None = None) -> None:
        """``memory``: a file in which digests of model files are remembered; None reads them each time."""
        self._cache_dir = cache_dir
        self._digests = ReadDigests() if memory is None else RememberedDigests(memory)
        self._known: dict[tuple[str, str], Transfer | None] = {}

    def __call__(self, collection: Collection, writer: Identified) -> Transfer | None:
        """None: the writer has to see the pictures itself; also when a checkpoint cannot be read now."""
        pair = (collection.fingerprint, writer.fingerprint)
        if pair not in self._known:
            try:
                self._known[pair] = self._compared(collection, writer)
            except (CheckpointError, ModelUnavailableError) as error:
                log.warning("Image encoders cannot be compared: %s", error)
                return None
        return self._known[pair]

    def _compared(self, collection: Collection, writer: Identified) -> Transfer | None:
        if collection.fingerprint == writer.fingerprint or collection.model == writer.model == TOY:
            return Same()  # the toy that writes sees as the toy does
        if TOY in (collection.model, writer.model):
            return None
        from sightline.blip.shared_vision import patch_transfer

        one = resolve(collection.model, collection.revision, self._cache_dir)
        # Of the models that are called demo, the one that answers is another than the collection's.
        role: Role = "asking" if writer.model == DEMO else "retrieval"
        other = resolve(writer.model, writer.revision, self._cache_dir, role)
        return patch_transfer(one, other, self._digests)
