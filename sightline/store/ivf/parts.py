"""Parts: the lists of some images, written once and shared by the generations that still hold them.

``keys`` int64 ``[n]``, ``kept`` uint8 ``[n, ⌈Q/8⌉]`` (which tokens are indexed, lowest bit first), ``head``
int64 ``[2]``: the checksum of the first bytes of ``lists``, and of how many; behind the seal ``lists`` uint8,
as `sightline.store.ivf.lists` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError
from sightline.store.checksums import checksum
from sightline.store.durable import FileIdentity
from sightline.store.ivf.lists import Lists, ListWriter
from sightline.store.ivf.predictor import CellScores
from sightline.store.ivf.pruning import IMAGES_AT_ONCE, Pruned, prune
from sightline.store.ivf.sealed_file import read_sealed, write_sealed
from sightline.store.ivf.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.durable import WrittenFile
    from sightline.store.ivf.lists import Floats, WrittenLists
    from sightline.store.ivf.trained import Trained
    from sightline.store.living_images import Batch, Images
    from sightline.types import Half, Keys, Mask

FORM: Final = "sightline-ivf-part"
_VECTORS_AT_ONCE: Final = 1 << 16
"""Tokens that FAISS stores together."""
_IMAGES_MEASURED: Final = 4096
"""Images whose scores for held-out texts are looked through together."""


@dataclass(frozen=True)
class Part:
    """One part, opened. ``identity``: of a file that is mapped (None: all of it is in memory)."""

    path: Path
    keys: Keys
    kept: NDArray[np.uint8]
    lists: Lists
    identity: FileIdentity | None

    def is_intact(self) -> bool:
        """Whether what is mapped is what was opened."""
        return self.identity is None or FileIdentity.at(self.path) == self.identity


def read_part(path: Path, trained: Trained) -> Part:
    """`FileMissingError`, `CorruptionError`. Of what is mapped the codes and ids are not read."""
    identity = FileIdentity.at(path)
    file = read_sealed(path, FORM)
    shapes = {name: array.ndim for name, array in file.arrays.items()}
    if shapes != {"keys": 1, "kept": 2, "head": 1, "seal": 1, "lists": 1}:
        raise CorruptionError(f"The file {path} is no {FORM} that this version can read.")
    keys, (expected, head) = file.arrays["keys"], file.arrays["head"].tolist()
    if checksum(file.arrays["lists"][:head]) != expected:
        raise CorruptionError(f"The file {path} is not what was written: its lists have another checksum.")
    lists = Lists.open(file.arrays["lists"], trained.cells, len(keys))
    if lists.is_mapped:
        return Part(path, keys, file.arrays["kept"], lists, identity)
    return Part(path, keys.copy(), file.arrays["kept"].copy(), lists, None)


def read_pruning(path: Path) -> tuple[Keys, NDArray[np.uint8]]:
    """Keys and kept tokens of one part in its order, without its lists. Errors as `read_part`."""
    arrays = read_sealed(path, FORM).arrays
    return arrays["keys"].copy(), arrays["kept"].copy()


@dataclass(frozen=True)
class Learning:
    """What is carried on: the truth learns of images that are not among those ``known`` (sorted) to it.

    ``cells`` learn of all tokens. ``pruned`` says which tokens were kept of images that a part held before.
    """

    truth: Truth
    known: Keys
    pruned: Pruning
    cells: CellScores

    @classmethod
    def begun(cls, trained: Trained, queries: int) -> Learning:
        """Nothing is known yet."""
        truth, nobody = Truth.empty(len(trained.held_out)), np.empty(0, np.int64)
        return cls(truth, nobody, Pruning.of([], queries), CellScores(trained))


@dataclass(frozen=True, eq=False)
class Pruning:
    """Keys ``[n]``, sorted, and which tokens of each are kept: bits ``[n, ⌈Q/8⌉]``."""

    keys: Keys
    kept: NDArray[np.uint8]

    @classmethod
    def of(cls, pieces: Sequence[tuple[Keys, NDArray[np.uint8]]], queries: int) -> Pruning:
        """Of several parts."""
        keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in pieces)])
        width = -(-queries // 8)
        kept = np.concatenate([np.empty((0, width), np.uint8), *(kept for _, kept in pieces)])
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], kept[order])

    def find(self, keys: Keys, queries: int) -> Mask | None:
        """``[n,Q]``, when all of them are known."""
        at = np.searchsorted(self.keys, keys)
        if not len(self.keys) or (self.keys[np.minimum(at, len(self.keys) - 1)] != keys).any():
            return None
        return np.unpackbits(self.kept[at], axis=1, count=queries, bitorder="little").astype(np.bool_)


def write_part(folder: Path, images: Images, trained: Trained, learning: Learning) -> WrittenFile:
    """One new part of all these images."""
    encoder = _Encoder(images, trained, learning)
    for batch in images.batches():
        encoder.add(batch)
    lists, head = encoder.finish()
    told = {"queries": str(images.queries), "dim": str(images.dim)}
    sealed: dict[str, NDArray[Any]] = {
        "keys": images.keys,
        "kept": np.concatenate(encoder.kept),
        "head": np.array([checksum(lists[:head]), head], np.int64),
    }
    return write_sealed(folder, trained.kind, FORM, told, sealed, {"lists": lists})


class _Encoder:
    """Prunes images and writes what is kept of them into lists."""

    def __init__(self, images: Images, trained: Trained, learning: Learning) -> None:
        self._trained = trained
        self._learning = learning
        self._writer = ListWriter(trained.codec, trained.centroids, len(images))
        self._done = 0
        self._vectors: list[Floats] = []
        self._places: list[NDArray[np.int64]] = []
        self._waiting = 0
        self._scored: list[tuple[Keys, Floats]] = []
        self.kept: list[NDArray[np.uint8]] = []

    def add(self, batch: Batch) -> None:
        trained = self._trained
        for start in range(0, len(batch.keys), IMAGES_AT_ONCE):
            some = slice(start, start + IMAGES_AT_ONCE)
            pruned = self._pruned(batch.keys[some], batch.tokens[some])
            places = np.argwhere(pruned.kept)
            self._vectors.append(trained.turned(pruned.tokens[pruned.kept]))
            self._places.append(places + np.array([self._done, 0]))
            self._waiting += len(places)
            self._done += len(pruned.kept)
            self.kept.append(np.packbits(pruned.kept, axis=1, bitorder="little"))
        if self._waiting >= _VECTORS_AT_ONCE:
            self._store()
        if len(self._scored) * IMAGES_AT_ONCE >= _IMAGES_MEASURED:
            self._measure()

    def _pruned(self, keys: Keys, tokens_NQD: Half) -> Pruned:
        """And keep the scores of images that the truth does not know."""
        trained, learning = self._trained, self._learning
        kept = learning.pruned.find(keys, tokens_NQD.shape[1])
        new = np.isin(keys, learning.known, invert=True)
        held_out = trained.held_out if new.any() else trained.held_out[:0]
        pruned = prune(tokens_NQD, trained.texts, held_out, trained.apart, kept)
        if new.any():
            self._scored.append((keys[new], pruned.best[new]))
        return pruned

    def finish(self) -> WrittenLists:
        self._store()
        self._measure()
        return self._writer.finish()

    def _store(self) -> None:
        if self._vectors:
            places = np.concatenate(self._places)
            vectors = np.concatenate(self._vectors)
            self._learning.cells.add(vectors, self._writer.add(vectors, places[:, 0], places[:, 1]))
        self._vectors, self._places, self._waiting = [], [], 0

    def _measure(self) -> None:
        if self._scored:
            keys = np.concatenate([keys for keys, _ in self._scored])
            self._learning.truth.add(keys, np.concatenate([best for _, best in self._scored]))
        self._scored = []
