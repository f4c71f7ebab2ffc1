"""Token rows by inner product with FAISS, over fp16 codes as they are stored (docs/decisions/010).

FAISS is imported at first use, not with the module: whoever only writes segments does not need it.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UnavailableError
from sightline.store.flat.token_index import RowHits

if TYPE_CHECKING:
    from sightline.types import Half, Vector

Bytes = NDArray[np.uint8]

GPU_MOST_HITS: Final = 2048
"""FAISS finds no more neighbours than this on a GPU."""
GPU_ROUNDING: Final = 2e-3
"""There the query is rounded to fp16 as well (at most 2⁻¹¹ of it); this is four times that."""


class CpuScan:
    """An exhaustive scan on the CPU. Thread-safe, because the index is never written after it was opened."""

    def __init__(self, index: Any, buffer: Bytes | None = None) -> None:
        self._index = index
        self._buffer = buffer  # the index may be a view into it
        # The bound on fp32 sums of D products, whatever the order of summation; and some for the comparisons.
        self.rounding: float = (index.d + 16) * 2.0**-24

    @property
    def owns_its_codes(self) -> bool:
        """False when the index is a view into a memory map."""
        return bool(getattr(self._index.codes, "is_owned", True))

    def can_answer(self, count: int, restricted: bool) -> bool:
        """Always."""
        return True

    def search(self, vector: Vector, count: int, bitmap: Bytes | None) -> RowHits:
        """See `sightline.store.flat.token_index.RowScan`."""
        return self.search_many(vector[None], count, bitmap)[0]

    def search_many(self, vectors_TD: Vector, count: int, bitmap: Bytes | None) -> list[RowHits]:
        """See `sightline.store.flat.token_index.RowScan`."""
        faiss = load_faiss()
        parameters = None
        if bitmap is not None:
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))
        return _hits(*self._index.search(vectors_TD.astype(np.float32), count, params=parameters))


class Copy(Protocol):
    """A FAISS index somewhere else; FAISS's own search without parameters."""

    def search(self, vectors: Vector, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and rows ``[T,count]`` by falling score; row −1 where there are fewer."""
        ...


class GpuScan:
    """The same rows on a GPU: unrestricted searches for few hits only. One search at a time."""

    rounding: float = GPU_ROUNDING

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._lock = threading.Lock()

    def can_answer(self, count: int, restricted: bool) -> bool:
        """No selector and no more than 2,048 hits: FAISS's limits on a GPU."""
        return not restricted and count <= GPU_MOST_HITS

    def search(self, vector: Vector, count: int, bitmap: Bytes | None) -> RowHits:
        """See `sightline.store.flat.token_index.RowScan`."""
        return self.search_many(vector[None], count, bitmap)[0]

    def search_many(self, vectors_TD: Vector, count: int, bitmap: Bytes | None) -> list[RowHits]:
        """See `sightline.store.flat.token_index.RowScan`."""
        with self._lock:
            found = self._copy.search(vectors_TD.astype(np.float32), count)
        return _hits(*found)


def _hits(scores_TK: NDArray[np.float32], rows_TK: NDArray[np.int64]) -> list[RowHits]:
    """Of each vector, without the places that FAISS could not fill."""
    return [
        RowHits(scores[rows >= 0], rows[rows >= 0]) for scores, rows in zip(scores_TK, rows_TK, strict=True)
    ]


def load_faiss() -> Any:
    """The module, or a sentence about how to install it."""
    try:
        import faiss
    except ImportError:
        raise UnavailableError("FAISS is not installed: pip install 'sightline[faiss-cpu]'.") from None
    return faiss


def index_header(rows: int, dim: int) -> bytes:
    """What FAISS writes before the codes of a flat fp16 inner-product index of ``rows`` rows.

    Written before the tokens, it makes file bytes into an index that `view_index` opens without a copy.
    """
    faiss = load_faiss()
    index = _empty_index(dim)
    index.ntotal = rows
    header: bytes = faiss.serialize_index(index).tobytes()
    # It ends with the length of the codes, which are the last field: 0 here.
    return header[:-8] + struct.pack("<Q", rows * dim * 2)


def view_index(content: Bytes, rows: int) -> Any | None:
    """An index over ``content`` (header and codes) in place, or None when this FAISS does not read it so."""
    faiss = load_faiss()
    try:
        index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(content), content.nbytes))
    except (AttributeError, RuntimeError):
        return None
    return index if index.ntotal == rows and index.metric_type == faiss.METRIC_INNER_PRODUCT else None


def copy_index(tokens: Half) -> Any:
    """An index with its own copy of tokens ``[N,Q,D]``."""
    index = _empty_index(tokens.shape[2])
    if len(tokens):
        index.add_sa_codes(np.ascontiguousarray(tokens).view(np.uint8).reshape(-1, 2 * tokens.shape[2]))
    return index


def _empty_index(dim: int) -> Any:
    faiss = load_faiss()
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
