"""What the parts of a generation share: cells, codec, and the texts that were learned from.

Nothing in it is of a single image but directions: no key, and no token as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.errors import CorruptionError
from sightline.kept import kept
from sightline.store.ivf.lists import open_cells
from sightline.store.ivf.sealed_file import read_sealed, write_sealed

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.store.durable import WrittenFile
    from sightline.store.ivf.lists import Bytes, Floats

FORM: Final = "sightline-ivf-trained"
PREDICTING: Final = 768
"""Three times the dimensions of a text: more find no more."""
_TENSORS: Final = {
    "rotation": 2, "centroids": 2, "codec": 1, "texts": 2, "held_out": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """``rotation`` ``[D,D]`` is applied to tokens and queries first; ``centroids`` ``[L,D]`` are turned so.

    ``codec``: of `lists.train_codec`. ``texts`` ``[M,D]`` decided which tokens are kept; ``held_out``
    ``[T,D]`` did not, and measure. A token whose cosine with every token kept before is below ``apart`` is
    kept as well (2: never).
    """

    kind: str
    rotation: Floats
    centroids: Floats
    codec: Bytes
    texts: Floats
    held_out: Floats
    apart: float
    images: int
    """How many the generation held when this was learned."""

    @kept
    def cells(self) -> Any:
        """The centroids, where FAISS finds them."""
        return open_cells(self.centroids)

    def turned(self, vectors: Floats) -> Floats:
        """Vectors ``[n,D]`` as the lists hold them."""
        turned: Floats = vectors @ self.rotation
        return turned

    @property
    def predicting(self) -> Floats:
        """Those of the texts that the predictor is fitted to."""
        return self.texts[:PREDICTING]


def random_rotation(dim: int, seed: int) -> Floats:
    """An orthogonal ``[D,D]``: RaBitQ's bound counts on directions that no axis is special to."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    return rotation.astype(np.float32)


def write_trained(folder: Path, trained: Trained) -> WrittenFile:
    """Durably, under a new name."""
    told = {"apart": repr(trained.apart), "images": str(trained.images)}
    arrays = {name: np.ascontiguousarray(getattr(trained, name)) for name in _TENSORS}
    return write_sealed(folder, trained.kind, FORM, told, arrays)


def read_trained(path: Path) -> Trained:
    """Copied into memory. `FileMissingError`, `CorruptionError`."""
    file = read_sealed(path, FORM)
    told, shapes = file.layout.metadata, {name: array.ndim for name, array in file.arrays.items()}
    if shapes != {**_TENSORS, "seal": 1}:
        raise CorruptionError(f"The file {path} is no {FORM} that this version can read.")
    arrays = {name: file.arrays[name].copy() for name in _TENSORS}
    return Trained(
        told["kind"], arrays["rotation"], arrays["centroids"],
        arrays["codec"], arrays["texts"], arrays["held_out"], float(told["apart"]), int(told["images"]),
    )  # fmt: skip
