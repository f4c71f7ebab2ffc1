"""Saved searches as their owners see them: saving, changing, removing, and who is a member."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.errors import InputError
from sightline.searching.saved_questions import checked_question
from sightline.store.records import UNSET, Unset
from sightline.store.saved_records import NewSavedSearch
from sightline.store.values import check_text

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.saved_records import MemberPage, SavedSearch

CheckUrl = Callable[[str], None]
"""Raises InputError for a URL that may not be called."""


@dataclass(frozen=True)
class Saved:
    """What came of saving. ``secret``: signs what the webhook gets; told now and never again."""

    search: SavedSearch
    secret: str | None = None


class SavedSearches:
    """Those of an installation. Thread-safe."""

    def __init__(self, catalog: Catalog, most: int, check_webhook: CheckUrl | None) -> None:
        """``most`` for one collection. ``check_webhook``: None where no webhook may be named."""
        self._catalog = catalog
        self._most = most
        self._check_webhook = check_webhook

    def save(
        self,
        collection: str,
        name: str,
        question: Mapping[str, Any],
        min_probability: float,
        webhook: str | None = None,
    ) -> Saved:
        """Ask this of every picture of a collection: of those that are there, and of all that come.

        ``question`` is what of a search's body says what is looked for: ``{"text": …}`` or
        ``{"query": {…}}``. Members are pictures
        with at least this match probability, as a search gives it in float32. Answers at once; the builder's
        process judges.

        Raises:
            NotFoundError: no such collection.
            ConflictError: the name is taken, or the collection has as many as it may.
            InputError: a question, a probability, a name or a webhook that cannot be used.
        """
        asked, least = checked_question(question), _checked_probability(min_probability)
        secret = self._secret(webhook)
        number = self._catalog.collection(collection).id
        new = NewSavedSearch(name, asked, least, webhook, secret)
        return Saved(self._catalog.create_saved(number, new, self._most), secret)

    def change(
        self,
        collection: str,
        name: str,
        question: Mapping[str, Any],
        min_probability: float,
        webhook: str | Unset | None = UNSET,
    ) -> Saved:
        """Ask something else, from another probability on, or tell another webhook (None: nobody).

        Another question begins without members; a higher probability lets those go who are below, a lower one
        has all pictures judged again. The secret of a webhook stays when its URL changes.

        Raises what `save` does.
        """
        asked, least = checked_question(question), _checked_probability(min_probability)
        secret = None if isinstance(webhook, Unset) else self._secret(webhook)
        number = self._catalog.collection(collection).id
        had_none = self._catalog.saved_search(number, name).webhook is None
        changed = self._catalog.change_saved(number, name, asked, least, webhook, secret)
        return Saved(changed, secret if had_none else None)

    def every(self, collection: str) -> list[SavedSearch]:
        """Those of a collection by name; NotFoundError."""
        return self._catalog.saved_searches(self._catalog.collection(collection).id)

    def one(self, collection: str, name: str) -> SavedSearch:
        """How it stands; NotFoundError."""
        return self._catalog.saved_search(self._catalog.collection(collection).id, name)

    def remove(self, collection: str, name: str) -> None:
        """It, its members, and what was to be told of them; NotFoundError."""
        self._catalog.remove_saved(self._catalog.collection(collection).id, name)

    def members(self, collection: str, name: str, cursor: str | None = None, limit: int = 50) -> MemberPage:
        """Who fits, in the order of joining; NotFoundError, and InputError for a foreign cursor."""
        return self._catalog.saved_members(self._catalog.collection(collection).id, name, cursor, limit)

    def _secret(self, webhook: str | None) -> str | None:
        """A new one for a webhook that may be called."""
        if webhook is None:
            return None
        check_text("The webhook", webhook)
        if self._check_webhook is None:
            raise InputError("Webhooks are not called here; SIGHTLINE_SAVED__WEBHOOKS=true turns them on.")
        self._check_webhook(webhook)
        return f"slw_{secrets.token_urlsafe(32)}"


def _checked_probability(value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError("The parameter min_probability must be from 0 to 1.")
    return float(value)
