"""What the catalog gives of the trash and of purges: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.store.records import ItemError


@dataclass(frozen=True)
class Restored:
    """What came back from the trash, and what did not: taken ids, and ids that are not in the trash."""

    restored: list[str]
    refused: list[ItemError]


@dataclass(frozen=True)
class Purge:
    """One picture that is to leave no trace. After ``until`` no worker writes anything of it."""

    key: int
    collection_id: int
    sha256: str
    until: float


@dataclass(frozen=True)
class TrashedCollection:
    """A deleted collection, which can be had back whole. ``id`` tells those that had the same name apart."""

    id: str
    name: str
    model: str
    images: int
    pending: int
    trashed_at: float
