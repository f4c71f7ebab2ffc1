"""What answering a search takes of the house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.retriever.retriever import Retriever
    from sightline.searching.calibrations import Calibrations
    from sightline.searching.cascades import Cascades
    from sightline.searching.collapsing import Collapsing
    from sightline.searching.counted_search import Counts
    from sightline.searching.instructing import Instructing
    from sightline.searching.patches import PatchCache
    from sightline.serving.models import Models
    from sightline.serving.scheduler import Scheduler
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.types import Vector


@dataclass(frozen=True)
class SearchParts:
    """The parts that every way of searching is made of, for one installation."""

    catalog: Catalog
    models: Models
    scheduler: Scheduler
    retriever: Retriever
    patches: PatchCache
    instructing: Instructing
    cascades: Cascades
    exact: Retriever
    """A retriever that misses nothing, for who asks for that."""
    asked: Callable[[Collection, Vector], None]
    """Is told the vector of each text that is searched for."""
    counts: Counts
    """What counting searches remember and learn, and how far they go."""
    calibrations: Calibrations
    collapsing: Collapsing
    most_bytes: int | None = None
    """Captions, metadata and texts that one answer repeats; None for any number."""
