"""Keys of the HTTP API: what one may do, how one is made, and how one is proved.

A key is ``sl_ID_SECRET``, with 32 random bytes of secret; it is shown once. Of it the catalog has the SHA-256
of its *proof* (an HMAC under the key), so neither a catalog nor a backup holds anything that opens a door.
256 random bits are not guessed: a slow hash would only make every request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from sightline.errors import InputError
from sightline.store.values import COLLECTION_NAME, check_text

KeyScope = Literal["read", "write", "admin"]
SCOPES: Final[tuple[KeyScope, ...]] = get_args(KeyScope)
"""From less to more: each includes those before it."""
_KEY: Final = re.compile(r"sl_([a-z2-7]{10})_[A-Za-z0-9_-]{43}")
_UNITS: Final = {"h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_CONTEXT: Final = b"sightline-key-v1"
LONGEST_YEARS: Final = 100
LONGEST_SECONDS: Final = LONGEST_YEARS * 365.25 * 86_400
"""An end that lies further away is a typing error, and no calendar of ours goes beyond the year 9999."""
FIRST: Final = (
    "The first key has to be an admin's for all collections, for from then on everybody needs a key, and "
    "nobody could make others: make it with the scope admin (`sightline keys create NAME --scope admin`), or "
    "set SIGHTLINE_API__KEY."
)


@dataclass(frozen=True)
class Key:
    """A key without its secret. ``collections``: the names that it is bound to; None: all."""

    id: str
    name: str
    sha256: str
    scope: KeyScope
    collections: tuple[str, ...] | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None

    def is_over(self, now: float) -> bool:
        """Whether it opens nothing any more."""
        return self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)


@dataclass(frozen=True)
class KnownKeys:
    """The keys that are not revoked, and whether there ever was any: then the door is not open to all.

    ``installation``: the id of the catalog that says so.
    """

    installation: str
    now: float
    ever: bool
    keys: tuple[Key, ...]


def includes(scope: KeyScope, wanted: KeyScope) -> bool:
    """Whether whoever has ``scope`` may do what ``wanted`` is needed for."""
    return SCOPES.index(scope) >= SCOPES.index(wanted)


def lacks_admin(known: KnownKeys) -> bool:
    """Whether no key is left (after one was revoked) that can make others."""
    left = (key for key in known.keys if not key.is_over(known.now))
    return not any(key.scope == "admin" and key.collections is None for key in left)


def proof_of(key: str) -> bytes:
    """32 bytes that only who has the key can make, and that do not tell it."""
    return hmac.digest(key.encode("utf-8", "surrogatepass"), _CONTEXT, hashlib.sha256)


def hash_of(proof: bytes) -> str:
    """What is stored of a key: the SHA-256 of its proof, in hexadecimal digits."""
    return hashlib.sha256(proof).hexdigest()


def id_in(key: str) -> str | None:
    """The public part of what looks like a key."""
    found = _KEY.fullmatch(key)
    return None if found is None else found[1]


def end_of(text: str) -> tuple[float | None, float | None]:
    """How long a key lasts, or until when: (seconds, moment), one of them None.

    ``90d`` (also ``h`` and ``w``), or a day or moment of ISO 8601 such as ``2027-01-01``, in UTC if it does
    not say. Raises InputError.
    """
    said = text.strip()
    span = re.fullmatch(r"([0-9]{1,5})([hdw])", said)
    if span is not None:
        return int(span[1]) * _UNITS[span[2]], None
    try:
        moment = datetime.fromisoformat(said)
        return None, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InputError(f"{text!a:.60} is no end of a key; it reads like 90d, or 2027-01-01.") from None


def check_end(expires_at: float | None, now: float) -> None:
    """Raises InputError for an end that is over, or further away than keys may last."""
    if expires_at is None:
        return
    if expires_at <= now:
        raise InputError("The key's end has passed already: give one that is still to come.")
    if not expires_at <= now + LONGEST_SECONDS:
        raise InputError(
            f"The key's end is too far away: it lasts at most {LONGEST_YEARS} years, or for ever without one."
        )


def check_key(name: object, scope: str, collections: Iterable[str] | None) -> None:
    """Raises InputError for what no key can be."""
    check_text("The key's name", name)
    if not isinstance(name, str) or not re.fullmatch(COLLECTION_NAME, name):
        raise InputError(
            f"A key cannot be called {name!a:.100}: a name is up to 63 English letters, digits, '.', '_' and "
            "'-', and begins with a letter or a digit."
        )
    if scope not in SCOPES:
        raise InputError(f"A key's scope is read, write or admin, not {scope!a:.100}.")
    if collections is None:
        return
    names = list(collections)
    if not names:
        raise InputError(
            "A key that is bound to no collection opens nothing: name some, or leave it unbound."
        )
    for one in names:
        check_text("A collection's name", one)
        if not one or len(one) > 200:
            raise InputError(f"No collection is called {one!a:.100}.")
