"""How often an address may give a wrong key, in bounded memory.

A key of ours cannot be guessed, so it is accepted however many wrong ones came from its address: else one bad
client would lock out all who share it. The key in the settings may be a word that a person chose: once the
attempts of an address are used up it is accepted only where it was right before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from sightline.api.clients import client_of
from sightline.api.rates import RateLimit

TRUSTED: Final = 4_096
"""Addresses that are remembered because the settings' key came from them."""


class Attempts:
    """Counts wrong keys by address. Thread-safe."""

    def __init__(self, rule: str) -> None:
        self._limit = RateLimit(rule)
        self._trusted: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def wrong(self, address: str) -> int | None:
        """Count one: None when another may follow now, else in how many seconds."""
        return self._limit.wait(client_of(address))

    def used_up(self, address: str) -> int | None:
        """Whether a key that can be guessed must wait here, and how many seconds."""
        with self._lock:
            if client_of(address) in self._trusted:
                return None
        return self._limit.is_used_up(client_of(address))

    def right(self, address: str) -> None:
        """The settings' key came from here."""
        with self._lock:
            self._trusted[client_of(address)] = None
            self._trusted.move_to_end(client_of(address))
            if len(self._trusted) > TRUSTED:
                self._trusted.popitem(last=False)
