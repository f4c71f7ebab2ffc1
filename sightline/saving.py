"""The parts that keep saved searches up to date, and let others hear of their members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.choosing import Choosing
from sightline.lazy import once

if TYPE_CHECKING:
    from sightline.fetching.posting import Poster
    from sightline.searching.saved_judging import SavedJudging
    from sightline.searching.saved_searches import SavedSearches
    from sightline.upkeep.saved_watch import SavedWatch


class Saving(Choosing):
    """Saved searches, for whoever makes them and for the builder's process. Thread-safe."""

    @once
    def saved_searches(self) -> SavedSearches:
        """Makes, changes and lists saved searches; needs no model."""
        from sightline.searching.saved_searches import SavedSearches

        poster = self.poster
        return SavedSearches(self.catalog, self.settings.saved.most, None if poster is None else poster.check)

    @once
    def saved_judging(self) -> SavedJudging:
        """Judges pictures for saved searches."""
        from sightline.searching.saved_judging import SavedJudging

        return SavedJudging(self.search_parts, self.settings.saved.batch)

    @once
    def saved_watch(self) -> SavedWatch:
        """Keeps saved searches up to date; run by the builder's process."""
        from sightline.upkeep.saved_watch import SavedWatch
        from sightline.upkeep.webhooks import Webhooks

        poster, settings = self.poster, self.settings.saved
        webhooks = None if poster is None else Webhooks(self.catalog, poster, settings)
        return SavedWatch(self.catalog, self.saved_judging, webhooks, settings)

    @once
    def poster(self) -> Poster | None:
        """Calls webhooks; None when that is not done here."""
        if not self.settings.saved.webhooks:
            return None
        from sightline.fetching.network import system_resolver
        from sightline.fetching.posting import Poster

        resolve = self.given.resolve or system_resolver
        return Poster(self.settings.fetch, self.settings.saved.webhook_seconds, resolve=resolve)
