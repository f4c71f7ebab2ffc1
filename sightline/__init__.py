"""Find pictures in words: BLIP-2 retrieval (ITC) with image-text matching (ITM) as the reranker.

The names below are the public door. Each is loaded at its first use, so that importing this takes no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sightline.version import __version__ as __version__

if TYPE_CHECKING:
    from sightline.collection import Collection as Collection
    from sightline.indexer.indexer import Indexer as Indexer
    from sightline.records import SearchRequest as SearchRequest
    from sightline.reranker.encoded import EncodedImages as EncodedImages
    from sightline.reranker.reranker import CrossEncoder as CrossEncoder
    from sightline.reranker.reranker import Reranker as Reranker
    from sightline.retriever.retriever import Retriever as Retriever
    from sightline.searching.search import Search as Search
    from sightline.settings import Settings as Settings
    from sightline.wiring import open_installation as open_installation

__all__ = [
    "Collection",
    "CrossEncoder",
    "EncodedImages",
    "Indexer",
    "Reranker",
    "Retriever",
    "Search",
    "SearchRequest",
    "Settings",
    "open_installation",
]

_HOMES = {
    "Collection": "sightline.collection",
    "CrossEncoder": "sightline.reranker.reranker",
    "EncodedImages": "sightline.reranker.encoded",
    "Indexer": "sightline.indexer.indexer",
    "Reranker": "sightline.reranker.reranker",
    "Retriever": "sightline.retriever.retriever",
    "Search": "sightline.searching.search",
    "SearchRequest": "sightline.records",
    "Settings": "sightline.settings",
    "open_installation": "sightline.wiring",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sightline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
