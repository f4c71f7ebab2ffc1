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
    index: str = "flat"
    """The kind of index that a collection's first generation gets; one that has a generation keeps its
    kind.
    """
    keep_queries: bool = False
    """Whether a server keeps a sample of what is asked of each collection, 2,000 text vectors at most and
    never the words, for approximate indexes to learn from. A vector tells roughly what was asked. Turned off,
    workers delete what was kept.
    """
    index_memory_bytes: int = 4 << 30
    """Token indexes up to this many bytes together are read into memory, where nobody else can write; the
    others are mapped, and looked at before each search.
    """
