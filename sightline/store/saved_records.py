"""What the catalog takes and gives of saved searches: frozen records, free of SQLAlchemy. See `records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Position = tuple[int, int]
"""(``changed``, key) of the last picture that was judged: see `schema_saved.SavedSearchRow`."""
BEGINNING: Position = (-1, 0)
"""Before the first picture there is."""


@dataclass(frozen=True)
class NewSavedSearch:
    """``question``: what of a search's body says what is looked for, such as ``{"text": "a red car"}``.

    ``secret`` signs what is sent to the ``webhook``.
    """

    name: str
    question: Mapping[str, Any]
    min_probability: float
    webhook: str | None = None
    secret: str | None = None


@dataclass(frozen=True)
class WebhookState:
    """How calls go. ``waiting`` and ``failed`` count members: those to be told yet, and those given up.

    ``trouble``: why the last call failed, in one sentence; None since one was answered.
    """

    url: str
    waiting: int
    failed: int
    delivered: int
    delivered_at: float | None
    trouble: str | None


@dataclass(frozen=True)
class SavedSearch:
    """A saved search as it stands. ``members``: of living pictures. ``pending``: pictures to be judged yet.

    ``unjudged``: pictures that could not be judged, because neither patches nor original can be had; they
    are tried again. ``trouble``: why nothing is judged now; None: nothing is in the way.
    """

    id: int
    collection: str
    name: str
    question: Mapping[str, Any]
    min_probability: float
    created_at: float
    members: int
    pending: int
    unjudged: int
    trouble: str | None
    judged_by: str | None
    webhook: WebhookState | None


@dataclass(frozen=True)
class SavedMember:
    """A picture that fits. ``id`` grows in the order of joining. ``probability`` decided."""

    id: int
    key: int
    image_id: str
    probability: float
    joined_at: float


@dataclass(frozen=True)
class MemberPage:
    """Some members in the order of joining; ``next_cursor`` is None on the last page."""

    items: Sequence[SavedMember]
    next_cursor: str | None


@dataclass(frozen=True)
class AskedSearch:
    """What whoever judges knows of a saved search; the last three say whether it is still so."""

    id: int
    question: Mapping[str, Any]
    min_probability: float
    judged_by: str | None
    round: int
    position: Position


@dataclass(frozen=True)
class SavedWork:
    """Pictures to be judged together. ``items``: their positions, in order, none before any search's."""

    searches: Sequence[AskedSearch]
    items: Sequence[Position]

    def keys_for(self, search: AskedSearch) -> list[int]:
        """Those that this search has not judged yet."""
        return [item[1] for item in self.items if item > search.position]


@dataclass(frozen=True)
class Verdicts:
    """Key → match probability, or None where the picture could not be judged.

    ``until``: up to here everything is judged now; None: these were asked again, out of their order.
    """

    search: AskedSearch
    until: Position | None
    probabilities: Mapping[int, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """One call of a webhook that is due."""

    member: SavedMember
    search_id: int
    collection: str
    search: str
    url: str
    secret: str
    token: str
    attempts: int
    failures: int
