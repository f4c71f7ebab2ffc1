"""Near duplicates of a collection: finds them, tells them, deletes nothing."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sightline.errors import InputError
from sightline.searching.comparing import CHUNK, Comparing
from sightline.searching.duplicate_groups import DuplicateGroup, groups_of

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection

LEASE_SECONDS: Final = 120.0
RENEW_SECONDS: Final = 20.0
SEARCH_SECONDS: Final = 1.0
HURRIED_CHUNK: Final = 32
MOST_WAITED_FOR: Final = 100_000
"""In larger collections nobody who waits for an answer waits for comparisons: the command makes them."""
UNSEEN_SECONDS: Final = 60.0
"""Searches try thumbnails that could not be read again so seldom: each try reads all hashes."""
MAX_PAGE: Final = 1_000
REMEMBERED: Final = 16
"""Collections whose groups are kept in memory while nothing changes."""


@dataclass(frozen=True)
class DuplicatePage:
    """``groups``: by the oldest of their images. ``total``: groups of the whole collection. ``waiting``: so
    many images were not compared yet. ``degraded``: what could not be done, a sentence each.
    """

    groups: Sequence[DuplicateGroup]
    total: int
    next_cursor: str | None
    waiting: int = 0
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    version: tuple[int, int]
    groups: Sequence[DuplicateGroup]
    group_of: dict[str, int]


class Duplicates:
    """Thread-safe. What was compared is kept in SQL; groups are made of it when asked for."""

    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._known: dict[int, _Known] = {}
        self._unseen: dict[int, tuple[int, float, tuple[str, ...]]] = {}
        """Number of a collection → its version, until when it is not tried again, and what is said."""
        self._lock = threading.Lock()

    def find(
        self,
        collection: str,
        cursor: str | None = None,
        limit: int | None = None,
        seconds: float | None = None,
        progress: Callable[[int], None] = lambda images: None,
    ) -> DuplicatePage:
        """Compare what is new, for so many seconds (None: all of it), and a page of groups (None: all).

        ``progress`` is told how many images were looked at. Raises NotFoundError, InputError for a cursor
        that this did not give, or a limit outside of 1 to 1,000.
        """
        if limit is not None and not 1 <= limit <= MAX_PAGE:
            raise InputError(f"A page has 1 to {MAX_PAGE:,} groups, not {limit}.")
        after = _after(cursor)
        found = self._catalog.collection(collection)
        degraded = self._compare(found, seconds, progress)
        groups = self.groups(found)
        rest = [group for group in groups if group.key > after]
        page = rest if limit is None else rest[:limit]
        more = str(page[-1].key) if len(page) < len(rest) else None
        waiting = self._catalog.count_unhashed(found.id)
        return DuplicatePage(page, len(groups), more, waiting, degraded)

    def catch_up(self, collection: Collection) -> tuple[str, ...]:
        """Compare what is new for about a second; what an answer lacks without the rest, in sentences."""
        version, until, said = self._unseen.get(collection.id, (-1, 0.0, ()))
        if collection.version == version and time.monotonic() < until:
            return said
        degraded = self._compare(collection, SEARCH_SECONDS, lambda images: None)
        waiting = self._catalog.count_unhashed(collection.id) if self._has_new(collection) else 0
        if not waiting or degraded:
            return degraded
        return (
            f"{waiting:,} pictures were not compared with the others yet, so their duplicates are not known: "
            f"`sightline duplicates --collection {collection.name}` compares them.",
        )

    def _has_new(self, collection: Collection) -> bool:
        return bool(self._catalog.unhashed_images(collection.id, 0, 1))

    def groups(self, collection: Collection) -> Sequence[DuplicateGroup]:
        """All groups, as far as pictures were compared."""
        return self._of(collection).groups

    def group_of(self, collection: Collection) -> dict[str, int]:
        """Content (SHA-256) → number of its group, of those that have one."""
        return self._of(collection).group_of

    def _of(self, collection: Collection) -> _Known:
        version = (self._catalog.version(collection.name)[1], self._catalog.duplicate_stamp())
        known = self._known.get(collection.id)
        if known is not None and known.version == version:
            return known
        groups = groups_of(self._catalog.alike(collection.id))
        by_content = {image.sha256: place for place, group in enumerate(groups) for image in group.images}
        known = _Known(version, groups, by_content)
        with self._lock:
            self._known.pop(collection.id, None)
            self._known[collection.id] = known
            while len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return known

    def _compare(
        self, collection: Collection, seconds: float | None, progress: Callable[[int], None]
    ) -> tuple[str, ...]:
        if not self._has_new(collection) or (seconds is not None and not self._is_small(collection)):
            return ()
        name, owner = f"duplicates {collection.id}", str(uuid.uuid4())
        if not self._catalog.acquire_singleton(name, owner, LEASE_SECONDS):
            return ("Another process compares the pictures of this collection now; ask again in a while.",)
        run = Comparing(
            self._catalog, self._blobs, collection.id, CHUNK if seconds is None else HURRIED_CHUNK
        )
        lease = _Lease(lambda: self._catalog.renew_singleton(name, owner, LEASE_SECONDS))

        def on() -> bool:
            progress(run.looked.images)
            return lease.holds()

        try:
            whole = run.run(float("inf") if seconds is None else time.monotonic() + seconds, on)
        finally:
            self._catalog.release_singleton(name, owner)
        unseen = len(run.looked.unseen)
        if not unseen:
            self._unseen.pop(collection.id, None)
            return ()
        said = (
            f"{unseen:,} pictures could not be compared, for their thumbnails are lost or damaged: "
            "`sightline doctor --repair` makes them again.",
        )
        if whole:
            self._unseen[collection.id] = collection.version, time.monotonic() + UNSEEN_SECONDS, said
        return said

    def _is_small(self, collection: Collection) -> bool:
        """Whether the hashes of all are read at once, while somebody waits."""
        return self._catalog.collection_counts(collection.name)["live"] <= MOST_WAITED_FOR


class _Lease:
    """Renewed now and then."""

    def __init__(self, renew: Callable[[], bool]) -> None:
        self._renew = renew
        self._due = time.monotonic() + RENEW_SECONDS

    def holds(self) -> bool:
        if time.monotonic() < self._due:
            return True
        self._due = time.monotonic() + RENEW_SECONDS
        return self._renew()


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InputError(f"{cursor!r:.60} is not a cursor that this listing gave.")
    return int(cursor)
