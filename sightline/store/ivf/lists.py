"""Inverted lists of token codes with FAISS: the only module here that speaks to it.

An entry's id is ``token × stride + position``: the token's number in its image and the image's position in
its part. So a selector of tokens is the bitmap of images, repeated, and costs no work for each token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, InputError
from sightline.store.flat.faiss_scan import load_faiss
from sightline.store.records import IVF_RABITQ, IVF_SQ8

if TYPE_CHECKING:
    from sightline.types import Mask

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

KINDS: Final = (IVF_RABITQ, IVF_SQ8)
_BITS: Final = 2
_BLOCK: Final = 32
"""Codes that FAISS's fast scan looks at together."""
_LINKS: Final = 16
_BREADTH: Final = 48
"""Of the graph over the cells, in which a token's cell is looked for when it is stored."""


class ListHits(NamedTuple):
    """Entries in no order: approximate scores, positions in the part, token numbers; each ``[n]``."""

    scores: Floats
    positions: NDArray[np.int64]
    tokens: NDArray[np.int64]


class WrittenLists(NamedTuple):
    """The bytes of a part's lists. The first ``head`` of them must be right, or FAISS must not read them."""

    content: Bytes
    head: int


def stride_of(images: int) -> int:
    """What token numbers are multiplied with in a part of so many images: a multiple of 8."""
    return max(8, -(-images // 8) * 8)


def train_cells(points: Floats, cells: int, seed: int, rounds: int = 8) -> Floats:
    """Centroids fp32 ``[L,D]`` of points ``[n,D]`` by k-means."""
    faiss = load_faiss()
    means = faiss.Kmeans(
        points.shape[1], cells, niter=rounds, seed=seed, min_points_per_centroid=1, max_points_per_centroid=40
    )
    means.train(points)
    return np.array(means.centroids, np.float32)


def train_codec(kind: str, centroids: Floats, points: Floats) -> Bytes:
    """An empty index of this kind with what FAISS learns from points ``[n,D]``, as bytes."""
    index = _new_index(kind, centroids.shape[1], len(centroids))
    with_cells = _flat(centroids)
    index.quantizer = with_cells
    index.train(points)
    return _bytes_of(index)


class ListWriter:
    """Collects the entries of one part of ``images`` images. ``template``: of `train_codec`."""

    def __init__(self, template: Bytes, centroids: Floats, images: int) -> None:
        faiss = load_faiss()
        self._index = _read(template)
        self._cells = faiss.IndexHNSWFlat(centroids.shape[1], _LINKS)
        self._cells.hnsw.efSearch = _BREADTH
        self._cells.add(centroids)
        self._index.quantizer = self._cells
        self._stride = stride_of(images)

    def add(
        self, vectors: Floats, positions: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Entries ``[n,D]``, turned as the centroids are; the cells ``[n]`` that they went to."""
        ids, before = tokens * self._stride + positions, self.sizes()
        self._index.add_with_ids(vectors, ids)
        grown = self.sizes() - before
        cells = np.flatnonzero(grown)
        stored = np.concatenate([self._ids(int(cell), int(before[cell])) for cell in cells])
        order = np.argsort(stored)
        found: NDArray[np.int64] = np.repeat(cells, grown[cells])[order]
        return found[np.searchsorted(stored[order], ids)]

    def _ids(self, cell: int, start: int) -> NDArray[np.int64]:
        """Of the entries of a list from one on."""
        lists = self._index.invlists
        ids: NDArray[np.int64] = load_faiss().rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell))
        return ids[start:].copy()

    def sizes(self) -> NDArray[np.int64]:
        """``[L]``: entries of each list."""
        lists = self._index.invlists
        return np.array([lists.list_size(cell) for cell in range(self._index.nlist)], np.int64)

    def finish(self) -> WrittenLists:
        """All of it, as `Lists` reads it. Not to be used after."""
        content = _bytes_of(self._index)
        if not views_its_bytes(self._index):
            return WrittenLists(content, content.nbytes)
        # Codes and ids come last: without sizes of lists, which come before, FAISS would find none of them.
        entries = self._index.ntotal * (self._index.code_size + np.dtype(np.int64).itemsize)
        return WrittenLists(content, content.nbytes - entries)


@dataclass(frozen=True)
class Lists:
    """The lists of one part, opened. Thread-safe: nothing is written after it was opened."""

    index: Any
    cells: Any
    """The quantizer, which FAISS points to."""
    images: int
    buffer: Bytes | None
    """What the lists of ``ivf-sq8`` are a view of."""

    @classmethod
    def open(cls, content: Bytes, cells: Any, images: int) -> Lists:
        """``cells``: of `open_cells`. `CorruptionError` when FAISS cannot read it."""
        index = _read(content)
        if index.nlist != cells.ntotal or index.d != cells.d:
            raise CorruptionError("The lists of a part are of other cells than its generation.")
        index.quantizer = cells
        return cls(index, cells, images, content if views_its_bytes(index) else None)

    @property
    def is_mapped(self) -> bool:
        """Whether a search reads the bytes that it was opened from."""
        return self.buffer is not None

    def search(
        self, query: Floats, cells: NDArray[np.int64], count: int, bits: Bytes | None, queries: int
    ) -> ListHits:
        """The best ``count`` entries in these cells ``[p]`` for a query ``[D]``, or fewer.

        ``queries``: Q, how many tokens an image has.
        """
        faiss = load_faiss()
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        parameters = faiss.IVFSearchParameters(nprobe=len(cells), sel=selector)
        scores, ids = np.empty((1, count), np.float32), np.empty((1, count), np.int64)
        unused = np.zeros((1, len(cells)), np.float32)  # both kinds compute a cell's own part themselves
        self.index.search_preassigned_c(
            1, faiss.swig_ptr(query), count, faiss.swig_ptr(cells), faiss.swig_ptr(unused),
            faiss.swig_ptr(scores), faiss.swig_ptr(ids), False, parameters,
        )  # fmt: skip
        tokens, positions = np.divmod(ids[0], stride_of(self.images))
        # An id that was never written can come from damaged lists, which are not read in full when opened.
        sound = (ids[0] >= 0) & (positions < self.images) & (tokens < queries)
        return ListHits(scores[0][sound], positions[sound], tokens[sound])


def views_its_bytes(index: Any) -> bool:
    """FAISS copies the blocks of fast scans, and looks at plain lists where they lie."""
    return isinstance(index, load_faiss().IndexIVFScalarQuantizer)


def open_cells(centroids: Floats) -> Any:
    """What `Lists` share: the centroids, where FAISS finds them."""
    return _flat(centroids)


def token_bits(allowed: Mask, queries: int) -> Bytes:
    """The selector of all tokens of the allowed positions ``[images]`` of a part."""
    padded = np.zeros(stride_of(len(allowed)), np.bool_)
    padded[: len(allowed)] = allowed
    return np.tile(np.packbits(padded, bitorder="little"), queries)


def _new_index(kind: str, dim: int, cells: int) -> Any:
    faiss = load_faiss()
    empty, product = faiss.IndexFlatL2(dim), faiss.METRIC_INNER_PRODUCT
    if kind == IVF_RABITQ:
        index = faiss.IndexIVFRaBitQFastScan(empty, dim, cells, product, _BLOCK, True, _BITS)
    elif kind == IVF_SQ8:
        bits = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexIVFScalarQuantizer(empty, dim, cells, bits, product, False)
    else:
        raise InputError(f"There are no inverted lists of kind {kind!r}.")
    index.own_fields = False
    return index


def _flat(centroids: Floats) -> Any:
    index = load_faiss().IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    return index


def _bytes_of(index: Any) -> Bytes:
    """Without the cells, which all parts share."""
    faiss = load_faiss()
    without_cells = faiss.IndexFlatL2(index.d)
    index.quantizer = without_cells
    content: Bytes = faiss.serialize_index(index)
    return content


def _read(content: Bytes) -> Any:
    faiss = load_faiss()
    try:
        index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(content), content.nbytes))
    except RuntimeError as error:
        raise CorruptionError(f"FAISS cannot read the lists of a part: {error}.") from error
    index.own_fields = False
    return index
