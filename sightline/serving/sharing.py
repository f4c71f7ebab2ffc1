"""Whether a model that writes can use the patches that a collection keeps for its own model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sightline.blip.checkpoint import TOY

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.captioner.parts import Identified, Transfer
    from sightline.store.records import Collection


class Same:
    """Of one image encoder to the very same."""

    def apply(self, patches: Tensor) -> Tensor:
        """As they are."""
        return patches


class PatchSharing:
    """Compares the image encoders of two checkpoints, each pair once. Thread-safe."""

    def __init__(self, cache_dir: Path | None = None) -> None:
        self._cache_dir = cache_dir
        self._known: dict[tuple[str, str], Transfer | None] = {}

    def __call__(self, collection: Collection, writer: Identified) -> Transfer | None:
        """None: the writer has to see the pictures itself."""
        pair = (collection.fingerprint, writer.fingerprint)
        if pair not in self._known:
            self._known[pair] = self._compared(collection, writer)
        return self._known[pair]

    def _compared(self, collection: Collection, writer: Identified) -> Transfer | None:
        if collection.fingerprint == writer.fingerprint or collection.model == writer.model == TOY:
            return Same()  # the toy that writes sees as the toy does
        return None
