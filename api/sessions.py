"""What the page's cookie holds: the proof of a key, an end, and a seal under what the catalog stores.

Who reads the catalog has no proof, who steals a cookie cannot make it last longer, and neither has the key. A
key that is revoked or over ends its sessions with it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from sightline.store.access import Key, hash_of

COOKIE = "sightline_session"
_FORM = re.compile(r"v2\.([a-z0-9]{8,10})\.([0-9]{1,12})\.([0-9a-f]{64})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Session:
    """A cookie, taken apart."""

    key_id: str
    ends: int
    proof: bytes
    seal: str

    def is_of(self, key: Key) -> bool:
        """Whether it was made with this key, and not changed since; in constant time."""
        proven = hmac.compare_digest(hash_of(self.proof), key.sha256)
        return hmac.compare_digest(self.seal, _seal(key, self.ends, self.proof)) and proven


def session_of(key: Key, proof: bytes, ends: int) -> str:
    """The cookie's value. ``ends``: a moment in seconds, on the database's clock."""
    return f"v2.{key.id}.{ends}.{proof.hex()}.{_seal(key, ends, proof)}"


def read_session(value: str) -> Session | None:
    """None for what no cookie of ours looks like."""
    found = _FORM.fullmatch(value)
    if found is None:
        return None
    return Session(found[1], int(found[2]), bytes.fromhex(found[3]), found[4])


def _seal(key: Key, ends: int, proof: bytes) -> str:
    under = hashlib.sha256(b"sightline-session-v2" + key.sha256.encode()).digest()
    return hmac.new(under, f"{key.id}.{ends}.".encode() + proof, hashlib.sha256).hexdigest()
