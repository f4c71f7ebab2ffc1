"""From a source to rows: list, hash, register in batches, tell the workers, while the listing goes on."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sightline.errors import ImageRejected, InputError, SourceError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.fetching.schemes import is_web
from sightline.indexer.items import DUPLICATE, SKIPPED, SourceItem, SourceProblem
from sightline.indexer.parts import IndexerParts
from sightline.indexer.plan import Plan
from sightline.indexer.pruning import Listing
from sightline.indexer.roots import ARCHIVE_MARK, Roots
from sightline.indexer.sources.listing import address_of, iter_source
from sightline.indexer.sources.sifting import long_video, read_kind, skipped
from sightline.indexer.unwritten import unwritten
from sightline.indexer.usable import usable
from sightline.store.records import COPIED, UNKNOWN, UPLOADED
from sightline.store.work_records import Failure, Registration

if TYPE_CHECKING:
    from sightline.store.records import Outcome

log = logging.getLogger(__name__)

Hashed = Registration | SourceProblem

ID_TAKEN = "id_taken"
"""The reason of a picture whose id another source's picture has."""

AHEAD = 4
"""Items that are read ahead for each hashing thread."""


class Registrar:
    """Registers into one job. Not thread-safe; one for each job."""

    def __init__(self, parts: IndexerParts, job_id: str, check: Callable[[], None] = lambda: None) -> None:
        """``check`` raises when somebody else registers into the job by now."""
        self._parts = parts
        self._check = check
        self._catalog = parts.catalog
        self._settings = parts.settings
        self._job_id = job_id
        self._waiting: list[Registration] = []
        self._failures: list[Failure] = []
        self._duplicates = self._noted = self._broken = 0
        self._can_send = True
        self.listings: dict[str, Listing] = {}
        """Of every source by its address: only what was listed whole may be pruned."""

    @property
    def listed(self) -> int:
        """How much all sources together have listed."""
        return sum(listing.met for listing in self.listings.values())

    def add(self, item: Registration) -> None:
        """Register with the next batch."""
        self._waiting.append(item)
        if len(self._waiting) >= self._settings.register_batch:
            self.flush()

    def flush(self) -> None:
        """Everything that waits is written."""
        waiting, self._waiting = self._waiting, []
        self._write_failures()  # before: what is registered under the same id comes after
        self.write(waiting)
        self._write_failures()
        if self._duplicates != self._noted:
            self._catalog.note_duplicates(self._job_id, self._duplicates)
            self._noted = self._duplicates

    def write(self, items: Sequence[Registration]) -> list[Outcome | InputError]:
        """One transaction, then tell the workers; for each item what became of it. `flush` writes failures.

        An item that SQL cannot hold, or whose id is another picture's, becomes a failure line; its neighbours
        are registered without it.
        """
        if not items:
            return []
        self._check()
        try:
            registered = self._catalog.register(self._job_id, items, batch_size=self._settings.batch_size)
        except InputError as error:
            if len(items) > 1:
                middle = len(items) // 2
                return self.write(items[:middle]) + self.write(items[middle:])
            [item] = items
            self.fail(item.image_id, item.uri, "unsupported", str(error), item.source)
            return [error]
        faultpoint("register.registered")
        self.send(registered.task_ids)
        self._broken += sum(outcome == "broken" for _, outcome in registered.outcomes)
        outcomes = zip(items, registered.outcomes, strict=True)
        return [
            self._refuse(item, registered.holders[item.image_id]) if outcome == "id_taken" else outcome
            for item, (_, outcome) in outcomes
        ]

    def _refuse(self, item: Registration, holder: str | None) -> ImageRejected:
        """The failure line of a picture whose id is another one's; so it stands under its own address."""
        rejected = ImageRejected(ID_TAKEN, taken(item, holder))
        own = f"{item.source}#{item.image_id}" if item.uri.startswith(COPIED) else item.uri
        self.fail(own, item.uri, rejected.reason, rejected.detail, item.source)
        return rejected

    def fail(self, image_id: str, uri: str, reason: str, detail: str, source: str | None = None) -> None:
        """One failure line of the job, written with the next batch; ``source``: where it stands, if unusable,
        so that it is not pruned.
        """
        self._failures.append(Failure(image_id, uri, reason, detail, source))
        if len(self._failures) >= self._settings.register_batch:
            self._write_failures()

    def _write_failures(self) -> None:
        failures, self._failures = self._failures, []
        if failures:
            self._catalog.record_failures(self._job_id, failures)

    def send(self, task_ids: Sequence[int]) -> None:
        """Tell the workers. A silent broker stops nothing: the builder sends what was not sent."""
        if not task_ids or self._parts.send is None or not self._can_send:
            return
        try:
            self._parts.send(task_ids)
        except UnavailableError as error:
            self._can_send = False
            log.warning("%s", error, extra={"job_id": self._job_id})

    # --- sources ----------------------------------------------------------------------------------

    def register_sources(self, plan: Plan) -> None:
        """List every source to its end; a source that cannot be listed becomes a failure line.

        Raises:
            SourceError: nothing at all could be listed.
        """
        roots = Roots(plan.roots)
        unlisted: SourceError | None = None
        for source in plan.sources:
            address = address_of(source)
            if address in self.listings:
                continue
            listing = self.listings[address] = Listing(address)
            try:
                self._register_source(source, plan, roots, listing)
            except SourceError as error:
                listing.whole, unlisted = False, error
                self.fail(source, source, "unreadable", str(error), address)
            self.flush()  # of one source each: what another one names is compared with what is registered
        found = [sentence for listing in self.listings.values() for sentence in listing.found()]
        if found:
            self._catalog.note_found(self._job_id, list(dict.fromkeys(found)))
        self._note_passed_over()
        if unlisted is not None and not self.listed:
            raise unlisted

    def _note_passed_over(self) -> None:
        kinds: Counter[str] = Counter()
        for listing in self.listings.values():
            kinds.update(listing.skipped)
        if kinds or self._broken:
            self._catalog.note_passed_over(self._job_id, kinds, self._broken)

    def _register_source(self, source: str, plan: Plan, roots: Roots, listing: Listing) -> None:
        parts = self._parts
        listed = iter_source(
            source,
            max_bytes=parts.max_bytes,
            allow_remote=roots.remote,
            own=parts.own_folders,
            fetch=parts.fetch,
            roots=roots,
            only=plan.only,
        )
        allowed = self._allowed(listed, roots, plan.id_prefix, listing)
        with ThreadPoolExecutor(self._settings.hash_threads, "hash") as pool:
            ahead = AHEAD * self._settings.hash_threads
            # Closing the generator drops what was read ahead when a registration fails.
            collection = self._catalog.job(self._job_id).collection
            hash_item = partial(self._hash, collection=collection, source=listing.source, copy=plan.copy)
            with closing(_in_order(pool, hash_item, allowed, ahead)) as hashed:
                for outcome in hashed:
                    if isinstance(outcome, SourceProblem):
                        listing.whole = listing.whole and not outcome.hides_more
                        told = (outcome.image_id, outcome.uri, outcome.reason, outcome.detail)
                        if outcome.reason == SKIPPED:
                            listing.skip(outcome.kind)
                        else:
                            self.fail(*told, listing.source)
                    else:
                        self.add(outcome)

    def _allowed(
        self, listed: Iterable[SourceItem | SourceProblem], roots: Roots, prefix: str, listing: Listing
    ) -> Iterator[SourceItem | SourceProblem]:
        """Items below the roots whose id is new in this source; problems in place of the others."""
        named: dict[int, int] = {}  # hashes: names alone would fill the memory of a big run
        for item in listed:
            listing.met += 1
            listing.note(item)
            item = replace(item, image_id=prefix + item.image_id) if prefix else item
            if isinstance(item, SourceItem):
                self._duplicates += item.repeats
                item = usable(item, roots, self._settings.max_metadata_bytes)
            if isinstance(item, SourceItem):
                times = named[hash(item.image_id)] = named.get(hash(item.image_id), 0) + 1
                if times > 1:
                    # Under its address: a failure line under the shared id would speak of the other one.
                    detail = f"{listing.source} has named {item.image_id} before; this one was left out."
                    item = SourceProblem(f"{item.uri}#{times}", item.uri, DUPLICATE, detail)
            self._duplicates += isinstance(item, SourceProblem) and item.reason == DUPLICATE
            yield item

    def _hash(self, item: SourceItem | SourceProblem, *, collection: str, source: str, copy: bool) -> Hashed:
        """Read one item (in a thread), note its SHA-256, copy it when asked or when its archive may go."""
        if isinstance(item, SourceProblem):
            return long_video(item)
        known = None if item.written is None else unwritten(self._catalog, collection, item, source, copy)
        if known is not None:
            return known
        try:
            data = item.read()
        except ImageRejected as rejected:
            hides_more = may_hide_more(rejected)
            told = (item.image_id, item.uri, rejected.reason, rejected.detail, hides_more)
            return long_video(SourceProblem(*told))
        kind = read_kind(item.uri, data)
        if kind is not None:
            return skipped(item.image_id, item.uri, kind)
        if not data:
            return SourceProblem(item.image_id, item.uri, "empty", f"{item.uri} has no bytes.")
        uri, sha256 = item.uri, hashlib.sha256(data).hexdigest()
        if copy or ARCHIVE_MARK in uri or is_web(uri):
            uri = f"{COPIED}{self._parts.blobs.put(data)}"
        return Registration(item.image_id, sha256, uri, len(data), item.caption, item.metadata, source)


def may_hide_more(rejected: ImageRejected) -> bool:
    """Whether a picture could not be read because of its disk or its rights, which may hide others too.

    A file that is not there (a row of a manifest, a file that went while it was listed) hides nothing.
    """
    cause = rejected.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)


def taken(item: Registration, holder: str | None) -> str:
    """Why a picture was left out whose id another one has, and what to do about it."""
    known = "an unknown source" if holder is None else holder
    if item.source == UPLOADED:
        return (
            f"The id {item.image_id} is that of another picture, from {known}; upload this one under another."
        )
    return (
        f"The id {item.image_id} is that of another picture, from {known}; this one, from {item.source}, was "
        "left out: give the ids of its source a prefix (--id-prefix P), or say that the source was moved "
        f"(--moved-from {holder or UNKNOWN})."
    )


def _in_order(
    pool: ThreadPoolExecutor, hash_item: Callable[[Any], Hashed], items: Iterator[Any], ahead: int
) -> Generator[Hashed]:
    """``hash_item`` over ``items`` in their order, at most ``ahead`` of them in memory.

    When the listing breaks off, what was listed before it still comes first.
    """
    running: deque[Future[Hashed]] = deque()
    broken: SourceError | None = None
    try:
        try:
            for item in items:
                running.append(pool.submit(hash_item, item))
                if len(running) >= ahead:
                    yield running.popleft().result()
        except SourceError as error:
            broken = error
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
    if broken is not None:
        raise broken
