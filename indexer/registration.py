"""From a source to rows: list, hash, register in batches, tell the workers, while the listing goes on."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sightline.errors import ImageRejected, InputError, SourceError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.indexer.items import SourceItem, SourceProblem
from sightline.indexer.parts import IndexerParts
from sightline.indexer.roots import ARCHIVE_MARK, Roots
from sightline.indexer.sources.listing import address_of, iter_source
from sightline.store.records import Registration

if TYPE_CHECKING:
    from sightline.store.records import Outcome

log = logging.getLogger(__name__)

Hashed = Registration | SourceProblem

AHEAD = 4
"""Items that are read ahead for each hashing thread."""


@dataclass(frozen=True)
class Plan:
    """What a job of kind ``index`` was asked to do; lives in the job's request JSON."""

    sources: tuple[str, ...]
    copy: bool = False
    prune: bool = False
    roots: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        roots = None if self.roots is None else list(self.roots)
        return {"sources": list(self.sources), "copy": self.copy, "prune": self.prune, "roots": roots}

    @classmethod
    def from_json(cls, request: Any) -> Plan:
        roots = request.get("roots")
        return cls(
            sources=tuple(request["sources"]),
            copy=bool(request.get("copy")),
            prune=bool(request.get("prune")),
            roots=None if roots is None else tuple(roots),
        )


class Registrar:
    """Registers into one job. Not thread-safe; one for each job."""

    def __init__(self, parts: IndexerParts, job_id: str) -> None:
        self._parts = parts
        self._catalog = parts.catalog
        self._settings = parts.settings
        self._job_id = job_id
        self._waiting: list[Registration] = []
        self._taken: dict[int, int] = {}
        """Hash of every image id so far → hash of its uri: names alone would fill the memory of a big
        run.
        """
        self._can_send = True
        self.listed = 0
        self.whole = True
        """Whether every source was listed to its end: only then may missing images be pruned."""

    def add(self, item: Registration) -> None:
        """Register with the next batch."""
        self._waiting.append(item)
        if len(self._waiting) >= self._settings.register_batch:
            self.flush()

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.write(waiting)

    def write(self, items: Sequence[Registration]) -> list[Outcome | InputError]:
        """One transaction, then tell the workers; for each item what became of it.

        An item that SQL cannot hold becomes a failure line; its neighbours are registered without it.
        """
        if not items:
            return []
        try:
            registered = self._catalog.register(self._job_id, items, batch_size=self._settings.batch_size)
        except InputError as error:
            if len(items) > 1:
                middle = len(items) // 2
                return self.write(items[:middle]) + self.write(items[middle:])
            self.fail(items[0].image_id, items[0].uri, "unsupported", str(error))
            return [error]
        faultpoint("register.registered")
        self.send(registered.task_ids)
        return [outcome for _, outcome in registered.outcomes]

    def fail(self, image_id: str, uri: str, reason: str, detail: str) -> None:
        """One failure line of the job."""
        texts = (storable(text) for text in (image_id, uri, reason, detail))
        self._catalog.record_failure(self._job_id, *texts)

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
            try:
                self._register_source(source, plan, roots)
            except SourceError as error:
                self.whole, unlisted = False, error
                self.fail(source, source, "unreadable", str(error))
        self.flush()
        if unlisted is not None and not self.listed:
            raise unlisted

    def _register_source(self, source: str, plan: Plan, roots: Roots) -> None:
        listed = iter_source(source, max_bytes=self._parts.max_bytes, allow_remote=roots.remote)
        allowed = self._allowed(listed, roots)
        with ThreadPoolExecutor(self._settings.hash_threads, "hash") as pool:
            ahead = AHEAD * self._settings.hash_threads
            # Closing the generator drops what was read ahead when a registration fails.
            hash_item = partial(self._hash, source=address_of(source), copy=plan.copy)
            with closing(_in_order(pool, hash_item, allowed, ahead)) as hashed:
                for outcome in hashed:
                    if isinstance(outcome, SourceProblem):
                        self.fail(outcome.image_id, outcome.uri, outcome.reason, outcome.detail)
                    else:
                        self.add(outcome)

    def _allowed(self, listed: Iterable[SourceItem | SourceProblem], roots: Roots) -> Iterator[Any]:
        """Items below the roots whose id is new in this job; problems in place of the others."""
        for item in listed:
            self.listed += 1
            if isinstance(item, SourceProblem):
                self.whole = self.whole and not item.hides_more
                yield item
            elif not roots.allow(item.uri):
                detail = f"{item.uri} lies outside of what this server may read."
                yield SourceProblem(item.image_id, item.uri, "forbidden", detail)
            elif self._is_new(item.image_id):
                self._taken[hash(item.image_id)] = hash(item.uri)
                yield item
            elif self._taken[hash(item.image_id)] != hash(item.uri):
                # Under its uri: a failure line under the shared id would speak of the other one.
                detail = f"Another picture of this job has the id {item.image_id}; this one was left out."
                yield SourceProblem(item.uri, item.uri, "duplicate", detail)

    def _is_new(self, image_id: str) -> bool:
        return hash(image_id) not in self._taken

    def _hash(self, item: SourceItem | SourceProblem, *, source: str, copy: bool) -> Hashed:
        """Read one item (in a thread), note its SHA-256, copy it when asked or when its archive may go."""
        if isinstance(item, SourceProblem):
            return item
        try:
            data = item.read()
        except ImageRejected as rejected:
            return SourceProblem(item.image_id, item.uri, rejected.reason, rejected.detail)
        if not data:
            return SourceProblem(item.image_id, item.uri, "empty", f"{item.uri} has no bytes.")
        uri, sha256 = item.uri, hashlib.sha256(data).hexdigest()
        if copy or ARCHIVE_MARK in uri:
            uri = f"blob:{self._parts.blobs.put(data)}"
        return Registration(item.image_id, sha256, uri, len(data), item.caption, item.metadata, source)


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


def storable(text: str) -> str:
    """Text that every database takes: no NUL, no half characters (file names may hold both)."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
