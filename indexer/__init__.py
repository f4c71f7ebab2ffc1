"""From a source to searchable: listing, registration, embedding, the queue's thin tasks and the index
builder.

The names below are loaded on first use, so that commands that need none of them stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.indexer.building.builder import Builder as Builder
    from sightline.indexer.indexer import Indexer as Indexer
    from sightline.indexer.services import IndexerServices as IndexerServices
    from sightline.indexer.settings import BrokerSettings as BrokerSettings
    from sightline.indexer.settings import BuilderSettings as BuilderSettings
    from sightline.indexer.settings import IndexerSettings as IndexerSettings
    from sightline.indexer.uploads import Upload as Upload
    from sightline.indexer.uploads import UploadLine as UploadLine

_WHERE = {
    "Builder": "sightline.indexer.building.builder",
    "Indexer": "sightline.indexer.indexer",
    "IndexerServices": "sightline.indexer.services",
    "BrokerSettings": "sightline.indexer.settings",
    "BuilderSettings": "sightline.indexer.settings",
    "IndexerSettings": "sightline.indexer.settings",
    "Upload": "sightline.indexer.uploads",
    "UploadLine": "sightline.indexer.uploads",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'indexer' has no attribute {name!r}")
