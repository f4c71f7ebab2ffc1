"""Tells webhooks of new members: at least once, signed, and never in anybody's way."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from sightline.errors import InputError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.store.moments import moment_at

if TYPE_CHECKING:
    from sightline.searching.settings import SavedSettings
    from sightline.store.catalog import Catalog
    from sightline.store.saved_records import Delivery

log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 3600.0
"""Seconds between two calls of a receiver that fails, at most."""
SIGNATURE: Final = "Sightline-Signature"
DELIVERY: Final = "Sightline-Delivery"


class Post(Protocol):
    """Posts a document (`sightline.fetching.posting.Poster`). Raises InputError, UnavailableError."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None: ...


class Webhooks:
    """Calls one after the other; several processes may do so at once."""

    def __init__(self, catalog: Catalog, poster: Post, settings: SavedSettings) -> None:
        self._catalog = catalog
        self._poster = poster
        self._settings = settings

    def step(self) -> bool:
        """Makes the call that is due longest, if there is one; whether there was.

        A process that dies before the answer is noted leaves it to be made again, with the same
        ``Sightline-Delivery``.
        """
        call = self._catalog.take_saved_call(2 * self._settings.webhook_seconds + 30)
        if call is None:
            return False
        body = body_of(call)
        headers = {DELIVERY: call.token, SIGNATURE: signature(call.secret, self._catalog.now(), body)}
        try:
            self._poster.post(call.url, body, headers)
        except (InputError, UnavailableError) as error:
            log.warning("A webhook of the saved search %s could not be called: %s", call.search, error)
            pause = self._pause(call.failures)
            self._catalog.saved_call_failed(call, str(error), pause, self._settings.webhook_tries)
            return True
        faultpoint("webhook.sent")
        self._catalog.saved_call_told(call)
        return True

    def _pause(self, failures: int) -> float:
        """Seconds after one failure more."""
        return min(LONGEST_PAUSE, self._settings.webhook_pause_seconds * 2.0 ** min(failures, 30))


def body_of(call: Delivery) -> bytes:
    """What the receiver reads: a JSON object in UTF-8, the same at every try."""
    member = call.member
    told = {
        "type": "saved_search.joined",
        "id": call.token,
        "collection": call.collection,
        "search": call.search,
        "member": member.id,
        "image_id": member.image_id,
        "match_probability": member.probability,
        "joined_at": moment_at(member.joined_at).isoformat().replace("+00:00", "Z"),
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def signature(secret: str, now: float, body: bytes) -> str:
    """``t=TIME,v1=HEX``: HMAC-SHA256 of ``TIME.BODY``, with the time in whole seconds since the epoch."""
    time = str(int(now))
    signed = hmac.new(secret.encode(), time.encode() + b"." + body, hashlib.sha256)
    return f"t={time},v1={signed.hexdigest()}"
