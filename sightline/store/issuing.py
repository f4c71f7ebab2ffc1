"""Makes keys of the HTTP API."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sightline.store.access import Key, KeyScope, hash_of, proof_of

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog


def issue(
    catalog: Catalog,
    name: str,
    scope: KeyScope = "read",
    collections: Iterable[str] | None = None,
    seconds: float | None = None,
    until: float | None = None,
    *,
    has_other: bool = True,
) -> tuple[Key, str]:
    """Make a key that lasts so many ``seconds``, ``until`` a moment, or for ever: it, and its secret.

    ``has_other``: an admin has a key in the settings; else the first one of the catalog must be an admin's.

    Raises:
        InputError: the name, the scope, a collection or the end cannot be used; the first is no admin's.
        ConflictError: a key of this name is there already.
    """
    key_id = base64.b32encode(secrets.token_bytes(7))[:10].decode().lower()
    secret = f"sl_{key_id}_{secrets.token_urlsafe(32)}"
    bound = None if collections is None else sorted(set(collections))
    made = catalog.create_key(
        key_id,
        name,
        hash_of(proof_of(secret)),
        scope,
        bound,
        seconds=seconds,
        until=until,
        has_other=has_other,
    )
    return made, secret
