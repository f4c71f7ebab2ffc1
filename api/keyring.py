"""The keys of the catalog, as this process knows them: never older than a second when a request is judged."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sightline.errors import SightlineError, UnavailableError
from sightline.store.access import Key, KnownKeys

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog

FRESH_SECONDS: Final = 1.0
"""How long a key that was revoked by another process may still be accepted."""
KNOWN_SECONDS: Final = 120.0
"""How old what is known may be when the catalog goes away, for those few who are content with it."""
USE_SECONDS: Final = 60.0
"""The last use of a key is written this often."""
log = logging.getLogger("sightline.http")


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys at one moment. ``asked``: that moment on this process's own clock."""

    asked: float
    now: float
    ever: bool
    keys: Mapping[str, Key]

    def time(self) -> float:
        """Now, on the database's clock."""
        return self.now + time.monotonic() - self.asked

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.asked < FRESH_SECONDS


class Question:
    """What the catalog is being asked, by one thread for all who want to know."""

    def __init__(self) -> None:
        self.asked = time.monotonic()
        self.answer: Future[Ring] = Future()
        self.answer.set_running_or_notify_cancel()  # whoever stops waiting cancels nobody else's

    def is_good_for(self, since: float) -> bool:
        """Whether somebody who began to wait then may be content with it, or wait for it."""
        return self.asked >= since or not self.answer.done()


class Keyring:
    """Reads the keys when what is known is too old, and writes their last use behind the requests' backs.

    It believes one catalog, the one that it read first: another one in its place may have no keys at all.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._ring: Ring | None = None
        self._question: Question | None = None
        self._installation: str | None = None
        self._refused: frozenset[str] = frozenset()
        self._away = False
        self._uses = Uses(catalog)

    @property
    def last(self) -> Ring | None:
        """What was known last; None when that was long before the catalog went away."""
        return self._ring

    async def look(self) -> Ring:
        """The keys now; UnavailableError when the catalog does not say.

        However many ask while it hangs, and stop waiting, one thread waits for it.
        """
        since = time.monotonic()
        while True:
            ring = self._ring
            if ring is not None and ring.is_fresh:
                return ring
            question = self._asked(since)
            try:
                ring = await asyncio.wrap_future(question.answer)
            except UnavailableError:
                if question.asked >= since:
                    raise
                continue
            # One that began before this request may be about keys of long ago: then it is asked once more.
            if question.asked >= since or ring.is_fresh:
                return ring

    def forget(self) -> None:
        """This process has just changed a key: the next request asks the catalog."""
        with self._lock:
            self._ring = self._question = None

    def refuse(self, name: str) -> bool:
        """Until it ends, this process takes the key of this name for a revoked one; False: it knows none."""
        with self._lock:
            ring = self._ring
            found = {key.id for key in ring.keys.values() if key.name == name} if ring is not None else set()
            self._refused |= found
            if ring is not None:
                good = {key_id: key for key_id, key in ring.keys.items() if key_id not in found}
                self._ring = replace(ring, keys=good)
        return bool(found)

    def used(self, key_id: str, ring: Ring) -> None:
        """Note that a key opened something; returns at once."""
        self._uses.note(key_id, ring.time())

    def _asked(self, since: float) -> Question:
        """The last question, open or not; a new one when that is too old."""
        with self._lock:
            if self._question is None or not self._question.is_good_for(since):
                self._question = Question()
                threading.Thread(target=self._ask, args=(self._question,), name="keys", daemon=True).start()
            return self._question

    def _ask(self, question: Question) -> None:
        try:
            known = self._known()
        except BaseException as error:
            self._failed(question, error)
            question.answer.set_exception(error)
            return
        with self._lock:
            good = {key.id: key for key in known.keys if key.id not in self._refused}
            ring = Ring(question.asked, known.now, known.ever, good)
            if self._question is question:  # else a key was changed meanwhile
                self._ring, self._away = ring, False
        question.answer.set_result(ring)

    def _known(self) -> KnownKeys:
        known: KnownKeys = self._catalog.known_keys()
        if self._installation not in (None, known.installation):
            raise UnavailableError(
                "The catalog is another one than at the start, so nobody is let in by it: restart this "
                "server, or put back the one that was there."
            )
        self._installation = known.installation
        return known

    def _failed(self, question: Question, error: BaseException) -> None:
        """What is known stays known, unless it was old already when the catalog went away."""
        with self._lock:
            if self._question is not question or not isinstance(error, UnavailableError):
                return
            if (
                not self._away
                and self._ring is not None
                and question.asked - self._ring.asked > KNOWN_SECONDS
            ):
                self._ring = None
            self._away = True


class Uses:
    """Writes when keys were used last, from a thread of its own, once a minute for each key."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}

    def note(self, key_id: str, moment: float) -> None:
        """Returns at once; what cannot be written is not."""
        if moment - self._noted.get(key_id, float("-inf")) < USE_SECONDS:
            return
        with self._lock:
            if moment - self._noted.get(key_id, float("-inf")) < USE_SECONDS:
                return
            self._noted[key_id] = moment
        threading.Thread(target=self._write, args=(key_id, moment), name="key-use", daemon=True).start()

    def _write(self, key_id: str, moment: float) -> None:
        try:
            self._catalog.note_key_uses({key_id: moment})
        except SightlineError as error:
            log.warning("The last use of a key was not written: %s", error)
        except Exception:
            log.exception("The last use of a key was not written.")
