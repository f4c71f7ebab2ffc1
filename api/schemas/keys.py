"""Keys over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from sightline.api.schemas.common import Answer, CollectionName, Moment, Request, Text
from sightline.store.access import Key, KeyScope


class NewKey(Request):
    """A key to make: what it may do, for which collections (all, when none are named), and how long."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "kiosk", "scope": "read", "collections": ["holidays"], "expires": "90d"}]
        }
    )

    name: CollectionName
    scope: KeyScope = "read"
    collections: list[CollectionName] | None = Field(None, min_length=1, max_length=1000)
    expires: Annotated[Text, Field(max_length=60)] | None = Field(
        None, description="How long (90d, 12h, 4w) or until when (2027-01-01); never, when not given."
    )


class KeyAnswer(Answer):
    """A key without its secret. ``id`` is the part of it that is no secret."""

    id: str
    name: str
    scope: KeyScope
    collections: list[str] | None = Field(description="Those that it is bound to; null: all.")
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None = Field(description="Exact to a minute.")


class MadeKey(KeyAnswer):
    """A key that was just made, with its secret: the only time that it is shown."""

    key: str


class KeyList(Answer):
    """By name."""

    items: list[KeyAnswer]


class RevokedKey(Answer):
    """A key that opens nothing any more. ``remark``: what follows from it, when something does."""

    name: str
    revoked_at: Moment
    remark: str | None


def key_answer(key: Key) -> KeyAnswer:
    """One catalog record as JSON."""
    return KeyAnswer.of(key)
