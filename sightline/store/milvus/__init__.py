"""Milvus: an index beyond one machine. Token rows lie on a server, everything else in a small file here."""

from sightline.store.milvus.backend import MilvusBackend
from sightline.store.milvus.connection import MilvusServer

__all__ = ["MilvusBackend", "MilvusServer"]
