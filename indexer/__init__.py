"""From a source to searchable: listing, registration, embedding, the queue's thin tasks and the index
builder.

The names below are loaded on first use, so that commands that need none of them stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.builder import Builder as Builder
    from indexer.indexer import Indexer as Indexer
    from indexer.services import IndexerServices as IndexerServices
    from indexer.settings import BrokerSettings as BrokerSettings
    from indexer.settings import BuilderSettings as BuilderSettings
    from indexer.settings import IndexerSettings as IndexerSettings
    from indexer.uploads import Upload as Upload
    from indexer.uploads import UploadLine as UploadLine

_WHERE = {
    "Builder": "indexer.builder",
    "Indexer": "indexer.indexer",
    "IndexerServices": "indexer.services",
    "BrokerSettings": "indexer.settings",
    "BuilderSettings": "indexer.settings",
    "IndexerSettings": "indexer.settings",
    "Upload": "indexer.uploads",
    "UploadLine": "indexer.uploads",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'indexer' has no attribute {name!r}")
