"""What the retriever can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sightline.errors import InputError

MILVUS_INDEXES: Final = ("auto", "IVF_RABITQ", "IVF_SQ8", "IVF_FLAT")
MILVUS_URIS: Final = ("http://", "https://", "tcp://", "unix:")


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
    milvus_uri: str = ""
    """The Milvus server of indexes of the kind ``milvus``, such as ``http://milvus:19530``; empty: there is
    no such kind. A file that ends in ``.db`` is milvus-lite, for trying it out in one process.
    """
    milvus_token: str | None = None
    """``user:password``, or a key of the server."""
    milvus_database: str = ""
    """Its database; empty: the default one."""
    milvus_index: str = "auto"
    """The type of index there: ``auto`` (``IVF_RABITQ``, and ``IVF_SQ8`` on a server that has none),
    ``IVF_RABITQ``, ``IVF_SQ8`` or ``IVF_FLAT``.
    """
    milvus_seconds: float = 5.0
    """How long a search waits for an answer of Milvus; then every image is compared in its place."""

    def __post_init__(self) -> None:
        # A NaN is no such part either: nothing is ever found to be more than it.
        if not 0.0 < self.recall_target <= 1.0:
            raise InputError(
                f"SIGHTLINE_RETRIEVER__RECALL_TARGET must be more than 0 and at most 1, not "
                f"{self.recall_target:g}."
            )
        if self.approximate_from < 0:
            raise InputError("SIGHTLINE_RETRIEVER__APPROXIMATE_FROM must not be negative.")
        self._check_milvus()

    def _check_milvus(self) -> None:
        uri = self.milvus_uri
        if uri and not uri.startswith(MILVUS_URIS) and not uri.endswith(".db"):
            raise InputError(
                "SIGHTLINE_RETRIEVER__MILVUS_URI begins with http:// or https://, or names a file that ends "
                "in .db (milvus-lite)."
            )
        if self.milvus_index not in MILVUS_INDEXES:
            raise InputError(
                f"SIGHTLINE_RETRIEVER__MILVUS_INDEX is one of {', '.join(MILVUS_INDEXES)}, not "
                f"{self.milvus_index!r}."
            )
        if self.milvus_seconds <= 0:
            raise InputError("SIGHTLINE_RETRIEVER__MILVUS_SECONDS must be more than 0.")
