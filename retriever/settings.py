"""What the retriever can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RetrieverSettings:
    """Searching the index."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the index is searched: ``auto``, a GPU when the installed FAISS sees one; ``cpu``; or ``cuda``,
    which refuses to search without a GPU.
    """
    index: str = "auto"
    """The kind of index that a collection gets unless it says its own (``sightline generations set``):
    ``auto``, an exact one while it is small, else an approximate one that finds enough; ``exact``, one that
    never misses an image; or the name of a kind, such as ``flat``. Another kind is built beside the one that
    serves, and takes over in one step.
    """
    recall_target: float = 0.99
    """The part of the 100 best images that an approximate index must find, measured with texts that it did
    not learn from. Under ``auto`` one that finds less does not serve.
    """
    approximate_from: int = 20_000
    """With ``auto``: images from which on an approximate index is built. Exact again below half of that."""
    keep_queries: bool = False
    """Whether a server keeps a sample of what is asked of each collection, 2,000 text vectors at most and
    never the words, for approximate indexes to learn from. A vector tells roughly what was asked. Turned off,
    workers delete what was kept.
    """
    index_memory_bytes: int = 4 << 30
    """Token indexes up to this many bytes together are read into memory, where nobody else can write; the
    others are mapped, and looked at before each search.
    """
