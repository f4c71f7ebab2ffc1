"""How saved searches are kept up to date. A plain dataclass: the roof nests it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sightline.errors import InputError


@dataclass(frozen=True)
class SavedSettings:
    """Saved searches: questions that are asked of every picture, in the builder's process."""

    most: int = 20
    """Saved searches of one collection: each is asked of every picture that comes."""
    batch: int = 32
    """Pictures whose patches are read together, for all saved searches."""
    interval_seconds: float = 2.0
    """How often it is looked whether pictures came."""
    rest_seconds: float = 60.0
    """After something went wrong with a collection, how long until it is tried again; pictures that could not
    be judged are tried again ten times as seldom.
    """
    webhooks: bool = False
    """Whether saved searches may name a webhook: this installation then calls addresses that its users give,
    guarded as pictures from the web are (``SIGHTLINE_FETCH__``: ports, hosts, networks, plain HTTP).
    """
    webhook_seconds: float = 10.0
    """Wall clock of one call."""
    webhook_tries: int = 10
    """Calls for one member, before it is given up."""
    webhook_pause_seconds: float = 5.0
    """After a call that failed; twice as long after each further one, up to an hour."""

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 1 if field.name in ("most", "batch", "webhook_tries") else 0
            if getattr(self, field.name) < least:
                raise InputError(f"SIGHTLINE_SAVED__{field.name.upper()} must be at least {least}.")
