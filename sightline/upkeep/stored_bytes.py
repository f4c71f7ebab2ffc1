"""Originals and thumbnails, compared with what was stored: by content where they are ours.

Three depths. ``quick`` asks for existence and size only. ``stored`` (the usual) reads every original and
thumbnail of our own store. ``all`` reads the originals that lie elsewhere too, which may be terabytes on a
slow disk or behind a network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from sightline.errors import CorruptionError, ImageRejected, NotFoundError
from sightline.indexer.files import local_path, scheme_of
from sightline.indexer.roots import ARCHIVE_MARK

if TYPE_CHECKING:
    from sightline.indexer.originals import Originals
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.sql.originals import Holder
    from sightline.types import OnProgress

Depth = Literal["quick", "stored", "all"]
What = Literal["original", "thumbnail", "reference"]
PAGE = 1_000
READERS = 4
"""Files that are read at the same time."""


@dataclass(frozen=True)
class Damage:
    """One content, and what of it is not there or not what it was. ``reference``: an original that lies
    elsewhere, which its owner may have changed on purpose."""

    what: What
    holders: tuple[Holder, ...]
    detail: str

    @property
    def sha256(self) -> str:
        return self.holders[0].sha256


@dataclass
class Looked:
    """How many were looked at."""

    originals: int = 0
    thumbnails: int = 0
    references: int = 0


class StoredBytes:
    """Looks at the bytes of all images, also of those in the trash."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, originals: Originals) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._originals = originals

    def damages(
        self, depth: Depth = "stored", looked: Looked | None = None, show: OnProgress | None = None
    ) -> Iterator[Damage]:
        """All that is damaged, as it is found; ``looked`` is counted up meanwhile.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        counts = looked or Looked()
        total = self._catalog.count_holders() if show else 0
        done = 0
        with ThreadPoolExecutor(READERS, "doctor") as readers:
            for group in contents(self._catalog):
                for found in readers.map(partial(self._look, depth=depth, looked=counts), group):
                    yield from (one for one in found if self._still_wanted(one))
                done += sum(len(holders) for holders in group)
                if show:
                    show("originals", done, total)

    def _still_wanted(self, damage: Damage) -> bool:
        """What was deleted meanwhile is no damage."""
        return self._catalog.is_referenced(damage.sha256)

    def _look(self, holders: tuple[Holder, ...], depth: Depth, looked: Looked) -> list[Damage]:
        found: list[Damage] = []
        if any(holder.stored for holder in holders):
            looked.originals += 1
            detail = self.problem_of_original(holders[0], quick=depth == "quick")
            found += [Damage("original", holders, detail)] if detail else []
        if any(holder.state in ("live", "trashed") for holder in holders):
            looked.thumbnails += 1
            detail = self.problem_of_thumbnail(holders[0].sha256, quick=depth == "quick")
            found += [Damage("thumbnail", holders, detail)] if detail else []
        for holder in holders:
            if not holder.stored:
                looked.references += 1
                detail = self._problem_of_reference(holder, depth)
                found += [Damage("reference", (holder,), detail)] if detail else []
        return found

    def problem_of_original(self, holder: Holder, *, quick: bool) -> str | None:
        """What is wrong with an original in our store."""
        if not quick:
            return _problem(lambda: self._blobs.get_sound(holder.sha256) is not None)
        if self._blobs.has(holder.sha256) and self._blobs.size(holder.sha256) != holder.bytes:
            return "it has another length than what was stored"
        return _problem(lambda: self._blobs.has(holder.sha256))

    def problem_of_thumbnail(self, sha256: str, *, quick: bool) -> str | None:
        """What is wrong with the thumbnail of a picture that has one."""
        if quick:
            return _problem(lambda: self._blobs.has_thumbnail(sha256))
        return _problem(lambda: self._blobs.get_thumbnail(sha256) is not None)

    def _problem_of_reference(self, holder: Holder, depth: Depth) -> str | None:
        if depth == "all":
            try:
                self._originals.read_checked(holder.uri, holder.sha256)
            except ImageRejected as error:
                return error.detail
            return None
        if scheme_of(holder.uri) not in (None, "file") or ARCHIVE_MARK in holder.uri:
            return None  # asking would mean reading
        try:
            size = os.stat(local_path(holder.uri)).st_size
        except (OSError, ValueError) as error:
            return f"{holder.uri} cannot be read: {getattr(error, 'strerror', None) or error}."
        return None if size == holder.bytes else f"{holder.uri} has other bytes than when it was registered."


def contents(catalog: Catalog) -> Iterator[list[tuple[Holder, ...]]]:
    """Pages of contents in the order of their SHA-256, each with all images that want it."""
    last: Holder | None = None
    waiting: list[Holder] = []
    while page := catalog.holders(last, PAGE):
        last = page[-1]
        whole = [tuple(holders) for _, holders in groupby(waiting + page, lambda one: one.sha256)]
        waiting = list(whole.pop())  # the next page may go on with it
        yield whole
    yield [tuple(waiting)] if waiting else []


def _problem(is_there: Callable[[], bool]) -> str | None:
    """What keeps a file from being read; None when nothing does. A store that cannot be reached raises."""
    try:
        return None if is_there() else "it is missing"
    except NotFoundError:
        return "it is missing"
    except CorruptionError:
        return "its bytes are not what was stored"
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"


def candidates(holders: Sequence[Holder]) -> Iterator[str]:
    """Addresses where the original of these images may lie still, beside our store."""
    seen: set[str] = set()
    for holder in holders:
        for address in _addresses(holder):
            if address not in seen:
                seen.add(address)
                yield address


def _addresses(holder: Holder) -> Iterator[str]:
    if not holder.stored:
        yield holder.uri
    elif holder.source and holder.source != "upload:":
        # An image id is the path below its source, or that of an archive with what is inside.
        with suppress(ValueError):
            if holder.image_id.partition(ARCHIVE_MARK)[1]:
                yield f"{holder.source}{ARCHIVE_MARK}{holder.image_id.partition(ARCHIVE_MARK)[2]}"
            yield f"{holder.source.rstrip('/')}/{holder.image_id}"
            yield holder.source
