"""What searches of a collection know and learn of who need not be judged: its cascade, and samples for it.

A server fits in a thread of its own, never in a request's time. Several processes may do so at once: the
files are replaced whole, and the last one stays.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sightline.blip.protocols import StagedMatcher
from sightline.errors import CorruptionError, ModelMismatchError, SightlineError
from sightline.records import Effort, Reached, SearchRequest
from sightline.reranker.ordering import Record, course_of
from sightline.reranker.samples import Sample
from sightline.store.cascade_files import CascadeFiles, Learned
from sightline.types import NO_PATCHES

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.reranker.cascade import Cascade
    from sightline.reranker.records import Candidate, Ranked
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection

log = logging.getLogger(__name__)

MOST_SAMPLES: Final = 200
"""Kept for one collection, model and codec; at ViT-g geometry 460 kB each."""
ONE_IN: Final = 10
"""Of so many full searches one is a sample, once there are as many as are kept."""
OPEN_ONE_IN: Final = 20
"""Of so many searches that left their effort open and would be ``auto`` one is full, and a sample: a
collection goes on learning."""
NEW_SAMPLES: Final = 40
"""So many new ones, and the cascade is fitted again."""
WAITING: Final = 8
"""Samples that may wait to be written; what comes meanwhile is not kept."""


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What one search goes by. ``effort``: what it will do."""

    effort: Effort = "full"
    cascade: Cascade | None = None
    record: Record | None = None
    layers: int = 0
    """Of the matcher; 0 where nobody knows."""

    def reached(self, judged: Sequence[Ranked]) -> tuple[Reached, ...]:
        """How many candidates went how far, the fewest layers first."""
        counts: dict[int, int] = {}
        for one in judged if self.layers else ():
            counts[one.layers] = counts.get(one.layers, 0) + 1
        return tuple(Reached(layers, self.layers, counts[layers]) for layers in sorted(counts))


class Cascades:
    """The cascades of an installation's collections, each read when its file changes. Thread-safe."""

    def __init__(self, catalog: Catalog, files: CascadeFiles) -> None:
        self._catalog = catalog
        self._files = files
        self._known: dict[Learned, tuple[tuple[int, int], Cascade | None]] = {}
        self._full: dict[Learned, int] = {}
        self._open: dict[Learned, int] = {}
        self._unreadable: set[tuple[Learned, str]] = set()
        self._samples: queue.Queue[tuple[Learned, str, Sample]] = queue.Queue(WAITING)
        self._learns = False

    def start(self) -> None:
        """Learn from the searches of this process from now on; called by the server only."""
        self._learns = True
        threading.Thread(target=self._run, daemon=True, name="cascades").start()

    def knowledge(
        self, request: SearchRequest, collection: Collection, model: RetrievalModel, head: Sequence[Candidate]
    ) -> Knowledge:
        """What is known for a search whose candidates are ``head``."""
        if request.matcher is not None or not head or not isinstance(model, StagedMatcher):
            return Knowledge()
        if request.score == "itc":
            return Knowledge(layers=model.match_layers)
        learned = self.learned(collection, head[0].key)
        effort: Effort | None = "full" if _wants_all(request) else request.effort
        cascade = None if effort == "full" else self.cascade(learned)
        course = course_of(cascade, model, effort, request.limit, request.precision)
        if course is None:
            return Knowledge("full", None, self._record(learned), model.match_layers)
        if request.effort is None and (record := self._record_open(learned)) is not None:
            return Knowledge("full", None, record, model.match_layers)
        return Knowledge(course.plan.effort, cascade, None, model.match_layers)

    def learned(self, collection: Collection, key: int) -> Learned:
        """What is learned goes for the codec in which images like this one are stored."""
        place = self._catalog.locations([key]).get(key)
        codec = NO_PATCHES if place is None else place.codec
        return Learned(collection.id, collection.fingerprint, codec)

    def cascade(self, learned: Learned) -> Cascade | None:
        """The one that was fitted last; None where there is none that can be used."""
        version = self._files.version(learned)
        if version is None:
            return None
        known = self._known.get(learned)
        if known is None or known[0] != version:
            # Whatever is wrong with the file is said once, until it changes.
            known = self._known[learned] = (version, self._read(learned))
        return known[1]

    def keep(self, learned: Learned, samples: Sequence[Sample], fingerprint: str) -> Cascade:
        """Fit a cascade and put it in place of the last one. Raises InputError: too few samples."""
        from sightline.reranker.cascade_bytes import to_bytes
        from sightline.reranker.cascade_fit import fit

        cascade = fit(samples, fingerprint)
        self._files.write(learned, to_bytes(cascade))
        return cascade

    def _read(self, learned: Learned) -> Cascade | None:
        from sightline.reranker.cascade_bytes import from_bytes

        try:
            content = self._files.read(learned)
            return None if content is None else from_bytes(content, learned.fingerprint)
        except (CorruptionError, ModelMismatchError, OSError) as error:
            log.warning("%s Searches judge all candidates: %s", error, self._files.path(learned))
            return None

    def _record(self, learned: Learned) -> Record | None:
        """Takes a sample, when this full search is to be one."""
        if not self._learns or self._samples.full():
            return None
        count = self._full[learned] = self._full.get(learned, 0) + 1
        return None if count > MOST_SAMPLES and count % ONE_IN else self._recorder(learned)

    def _record_open(self, learned: Learned) -> Record | None:
        """Takes a sample, when this search, which may be ``auto``, is to be full for it."""
        if not self._learns or self._samples.full():
            return None
        count = self._open[learned] = self._open.get(learned, 0) + 1
        return None if count % OPEN_ONE_IN else self._recorder(learned)

    def _recorder(self, learned: Learned) -> Record | None:
        """The token is read now: what is purged from now on leaves no sample."""
        token = self._files.token(learned.collection_id)
        if token is None:
            return None

        def record(sample: Sample) -> None:
            try:
                self._samples.put_nowait((learned, token, sample.salted(token)))
            except queue.Full:
                log.debug("a sample is not kept: others wait to be written")

        return record

    def _run(self) -> None:
        while True:
            learned, token, sample = self._samples.get()
            try:
                self._learn(learned, token, sample)
            except (SightlineError, OSError) as error:
                log.warning("What searches could teach is not kept: %s", error)
            except Exception:
                log.exception("a cascade cannot be fitted")

    def _learn(self, learned: Learned, token: str, sample: Sample) -> None:
        from sightline.reranker.samples import to_bytes

        kept = self._files.add_sample(learned, token, sample.text, to_bytes(sample), MOST_SAMPLES)
        if not kept or self._files.new_samples(learned) < NEW_SAMPLES:
            return
        samples = self.samples(learned)
        alike = [one for one in samples if (one.layers, one.pooled.shape[2]) == _form(sample)]
        if len({one.text for one in alike}) >= NEW_SAMPLES:
            self.keep(learned, alike, learned.fingerprint)
            log.info("cascade fitted", extra={"collection": learned.collection_id, "queries": len(alike)})

    def samples(self, learned: Learned) -> list[Sample]:
        """All that can be read, the newest first; damaged ones go, what cannot be had is passed over."""
        from sightline.reranker.samples import from_bytes

        found = []
        for name in self._files.samples(learned):
            try:
                content = self._files.sample(learned, name)
                found += [] if content is None else [from_bytes(content)]
            except CorruptionError as error:
                log.warning("%s It is removed: %s", error, name)
                with suppress(OSError):
                    self._files.drop_sample(learned, name)
            except OSError as error:
                if (learned, name) not in self._unreadable:
                    self._unreadable.add((learned, name))
                    log.warning("A sample of a search cannot be read and is passed over: %s", error)
        return found


def _wants_all(request: SearchRequest) -> bool:
    """A bound on the probability wants everybody's; plans for more hits order the first pages anew; and in a
    given time more good hits are found candidate after candidate than stage after stage."""
    return request.min_probability is not None or request.offset > 0 or request.deadline_ms is not None


def _form(sample: Sample) -> tuple[int, int]:
    return sample.layers, sample.pooled.shape[2]
