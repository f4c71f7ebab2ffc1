"""From a query to candidates: max-sim over everything that is live.

The names below are loaded on first use: reading the settings needs no numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.retriever.records import Candidate as Candidate
    from sightline.retriever.records import Retrieved as Retrieved
    from sightline.retriever.retriever import Retriever as Retriever
    from sightline.retriever.settings import RetrieverSettings as RetrieverSettings

_WHERE = {
    "Candidate": "sightline.retriever.records",
    "Retrieved": "sightline.retriever.records",
    "Retriever": "sightline.retriever.retriever",
    "RetrieverSettings": "sightline.retriever.settings",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'sightline.retriever' has no attribute {name!r}")
