"""Where a flat generation is scanned: on a GPU that FAISS sees, with the CPU for what a GPU cannot answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from sightline.errors import UnavailableError
from sightline.store.flat.faiss_scan import CpuScan, GpuScan, load_faiss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sightline.store.flat.faiss_scan import Copy
    from sightline.store.flat.generation_file import GenerationContent
    from sightline.store.flat.token_index import RowScan
    from sightline.store.index import Device
    from sightline.types import Vector

log = logging.getLogger(__name__)


class Gpu(Protocol):
    """The GPUs of this machine, as far as an index needs them. Thread-safe."""

    def count(self) -> int:
        """How many there are."""
        ...

    def copy(self, index: Any) -> Copy:
        """A copy of a FAISS index on the first one; `RuntimeError` when it does not fit."""
        ...


class FaissGpu:
    """What the installed FAISS sees."""

    def count(self) -> int:
        """0 with ``faiss-cpu``."""
        count: int = load_faiss().get_num_gpus()
        return count

    def copy(self, index: Any) -> Copy:
        """See `Gpu`."""
        return _OnGpu(index)


class _OnGpu:
    """Keeps FAISS's working memory for as long as the index that uses it."""

    def __init__(self, index: Any) -> None:
        faiss = load_faiss()
        self._resources = faiss.StandardGpuResources()
        self._index = faiss.index_cpu_to_gpu(self._resources, 0, index)

    def search(self, vectors: Vector, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores, rows = self._index.search(vectors, count)
        return scores, rows


def require(device: Device, gpu: Gpu) -> None:
    """`UnavailableError` when a GPU is asked for and there is none."""
    if device == "cuda" and not gpu.count():
        raise UnavailableError(
            "The retriever is set to cuda, but FAISS sees no GPU: install 'sightline[faiss-gpu]' where there "
            "is one, or set SIGHTLINE_RETRIEVER__DEVICE to auto."
        )


def scans_of(content: GenerationContent, device: Device, gpu: Gpu) -> tuple[RowScan, ...]:
    """What to ask in order; the last one, on the CPU, can answer everything."""
    cpu = CpuScan(content.index, content.buffer)
    if device == "cpu" or not len(content.keys) or not gpu.count():
        return (cpu,)
    try:
        return GpuScan(gpu.copy(content.index)), cpu
    except RuntimeError as error:
        if device == "cuda":
            raise UnavailableError(f"The index could not be copied to the GPU: {error}.") from error
        log.warning("The index is searched on the CPU, because the GPU did not take it: %s.", error)
        return (cpu,)
