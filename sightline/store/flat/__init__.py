"""Flat files: the exact index. One file for each generation, scanned in place by FAISS."""

from sightline.store.flat.backend import MEMORY_BYTES, FlatBackend
from sightline.store.flat.devices import FaissGpu, Gpu

__all__ = ["MEMORY_BYTES", "FaissGpu", "FlatBackend", "Gpu"]
