"""The retriever beside a builder: broken generations, files that vanish, queries while everything changes."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import InputError, NotFoundError
from sightline.retriever import Retriever
from sightline.retriever.max_sim import ImageHits
from sightline.store.conditions import Filter
from sightline.store.filtered import Filtered
from sightline.store.filters import parse_filter
from tests.retriever.living_collection import Living, living_collection
from tests.store.token_world import brute_force, random_vector


@pytest.mark.parametrize("damage", ["missing", "flipped", "truncated"])
def test_a_broken_generation_is_reported_and_answers_stay_exact(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    with living_collection(tmp_path, 0) as living:
        living.put([f"a{n}" for n in range(200)])
        living.fold()
        living.put([f"a{n}" for n in range(30)])
        (path,) = living.generations.iterdir()
        data = path.read_bytes()
        path.unlink()
        if damage != "missing":
            path.write_bytes(data[:-1] if damage == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
        with caplog.at_level(logging.ERROR):
            for _ in range(5):
                living.check(10)
                living.check(10, since=2010)
        assert sum("must be built again" in record.message for record in caplog.records) == 1
        assert living.retriever.retrieve("pictures", random_vector(living.rng), 3).generation == 0
        living.fold()
        living.check(10)
        assert living.retriever.retrieve("pictures", random_vector(living.rng), 3).generation == 2


def test_segments_that_were_merged_and_removed_are_looked_for_in_the_catalog_again(tmp_path: Path) -> None:
    with living_collection(tmp_path, 1) as living:
        living.put([f"a{n}" for n in range(200)], batch_size=20)
        living.check(10)
        snapshot = living.catalog.snapshot("pictures")
        living.merge(covered=False, count=10)  # the files are gone at once
        # A query that had read its version just before the merge gets the old snapshot, whose files are gone.
        stale = Retriever(_OneStaleSnapshot(living, snapshot), living.reader, living.indexes)  # type: ignore[arg-type]
        vector = random_vector(living.rng)
        found = stale.retrieve("pictures", vector, 10)
        ids = sorted(living.keys)
        expected = brute_force(
            np.array([living.keys[i] for i in ids]), np.stack([living.tokens[i] for i in ids]), vector, 10
        )
        assert [c.key for c in found.candidates] == [key for key, _ in expected]


class _OneStaleSnapshot:
    """The catalog as of a moment ago for the first read, then the real one."""

    def __init__(self, living: Living, stale: object) -> None:
        self._catalog, self._stale = living.catalog, [stale]

    def version(self, collection: str) -> tuple[int, int]:
        return self._catalog.version(collection)

    def snapshot(self, collection: str) -> object:
        return self._stale.pop() if self._stale else self._catalog.snapshot(collection)


def test_an_image_that_is_replaced_between_snapshot_and_filter_is_still_found(tmp_path: Path) -> None:
    with living_collection(tmp_path, 7) as living:
        living.put([f"a{n}" for n in range(30)])
        retriever = Retriever(_ReplacingFilter(living), living.reader, living.indexes)  # type: ignore[arg-type]
        everything = parse_filter({"field": "metadata.year", "exists": True})
        found = retriever.retrieve("pictures", random_vector(living.rng), 30, everything)
        assert sorted(c.key for c in found.candidates) == sorted(living.keys.values())


class _ReplacingFilter:
    """A catalog in which images are replaced at the worst moment: before a filter is first looked at."""

    def __init__(self, living: Living) -> None:
        self._living, self.version = living, living.catalog.version
        self.snapshot, self._todo = living.catalog.snapshot, ["a3", "a4"]

    def filtered(self, collection_id: int, filter: Filter, since: int | None = None) -> Filtered:
        if self._todo:
            self._living.put(self._todo)
            self._todo = []
        return self._living.catalog.filtered(collection_id, filter, since)


def test_a_deleted_collection_is_not_found_and_its_name_can_begin_again(tmp_path: Path) -> None:
    with living_collection(tmp_path, 3) as living:
        living.put(["a", "b", "c"])
        living.check(2)
        living.catalog.delete_collection("pictures")
        with pytest.raises(NotFoundError):
            living.retriever.retrieve("pictures", random_vector(living.rng), 3)
        again = Living(tmp_path, living.catalog, living.rng)
        again.retriever = living.retriever
        again.check(5)
        again.put(["d"])
        again.check(5)


def test_what_is_no_query_is_refused(tmp_path: Path) -> None:
    with living_collection(tmp_path, 4) as living:
        living.put(["a"])
        good = random_vector(living.rng)
        for vector in (good[:-1], good[None], good * 2, good * np.nan, np.zeros_like(good)):
            with pytest.raises(InputError, match="text vector"):
                living.retriever.retrieve("pictures", vector, 1)
        with pytest.raises(InputError, match="candidate"):
            living.retriever.retrieve("pictures", good, 0)
        with pytest.raises(NotFoundError):
            living.retriever.retrieve("paintings", good, 1)
        assert len(living.retriever.retrieve("pictures", good, 1).candidates) == 1


def test_a_snapshot_is_opened_once_for_each_version(tmp_path: Path) -> None:
    with living_collection(tmp_path, 5) as living:
        living.put([f"a{n}" for n in range(20)])
        counting = _Counting(living)
        retriever = Retriever(counting, living.reader, living.indexes)  # type: ignore[arg-type]
        vector = random_vector(living.rng)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: retriever.retrieve("pictures", vector, 3), range(40), timeout=60))
        assert counting.snapshots == 1
        living.put(["b"])
        retriever.retrieve("pictures", vector, 3)
        assert counting.snapshots == 2


class _Counting:
    def __init__(self, living: Living) -> None:
        self._catalog, self.snapshots = living.catalog, 0

    def version(self, collection: str) -> tuple[int, int]:
        return self._catalog.version(collection)

    def snapshot(self, collection: str) -> object:
        self.snapshots += 1
        return self._catalog.snapshot(collection)


Event = tuple[int, np.ndarray | None]
"""A key and its tokens when it became live, None when it went."""


class History:
    """What each change made live and what it buried; a query notes how many changes were finished."""

    def __init__(self) -> None:
        self.changes: list[list[Event]] = []

    def note(self, before: dict[str, int], living: Living) -> None:
        gone = set(before.values()) - set(living.keys.values())
        new = [i for i, key in living.keys.items() if before.get(i) != key]
        self.changes.append([(key, None) for key in gone] + [(living.keys[i], living.tokens[i]) for i in new])

    def live_throughout(self, begin: int, end: int) -> tuple[dict[int, np.ndarray], set[int]]:
        """What was live after the first ``begin`` changes and not buried by those until ``end``; what had
        gone before ``begin``."""
        live: dict[int, np.ndarray] = {}
        gone: set[int] = set()
        for position, change in enumerate(self.changes[:end]):
            for key, tokens in change:
                if tokens is None:
                    live.pop(key, None)
                    gone |= {key} if position < begin else set()
                elif position < begin:
                    live[key] = tokens
        return live, gone


def test_queries_beside_a_builder_never_miss_what_stays_nor_find_what_is_gone(tmp_path: Path) -> None:
    with living_collection(tmp_path, 6) as living:
        history = History()
        living.put([f"a{n}" for n in range(150)], batch_size=25)
        history.note({}, living)
        stop = threading.Event()
        asked: list[tuple[int, int, np.ndarray, ImageHits]] = []

        def ask(seed: int) -> int:
            rng = np.random.default_rng(seed)
            count = 0
            while not stop.is_set():
                vector = random_vector(rng)
                condition = parse_filter({"field": "metadata.year", "exists": True}) if count % 2 else None
                begin = len(history.changes)
                found = living.retriever.retrieve("pictures", vector, 10, condition)
                # The change that is under way may be visible already.
                asked.append((begin, len(history.changes) + 1, vector, _hits(found)))
                count += 1
            return count

        with ThreadPoolExecutor(4) as pool:
            askers = [pool.submit(ask, seed) for seed in range(4)]
            try:
                _live_on(living, history, time.monotonic() + 6)
            finally:
                stop.set()
            assert sum(asker.result(60) for asker in askers) > 40
        assert any(end - begin > 1 for begin, end, _, _ in asked), "no change came during a query"
        for begin, end, vector, hits in asked[:: max(1, len(asked) // 150)]:
            _consistent(history, begin, end, vector, hits)


def _hits(found: object) -> ImageHits:
    candidates = found.candidates  # type: ignore[attr-defined]
    return ImageHits(np.array([c.key for c in candidates]), np.array([c.itc for c in candidates]), 0)


def _live_on(living: Living, history: History, until: float) -> None:
    turn = 0
    while time.monotonic() < until:
        before = dict(living.keys)
        known = sorted(living.keys)
        some = [known[i] for i in living.rng.choice(len(known), 10, replace=False)]
        match turn % 6:
            case 0:
                living.put([f"n{turn}-{n}" for n in range(20)])
            case 1 | 4:
                living.put(some)
            case 2:
                living.fold()
            case 3:
                living.delete(some)
            case 5:
                living.merge(covered=turn % 12 == 5)
        history.note(before, living)
        turn += 1


def _consistent(history: History, begin: int, end: int, vector: np.ndarray, hits: ImageHits) -> None:
    live, gone = history.live_throughout(begin, end)
    assert not gone & set(hits.keys.tolist()), "an image that was gone before the query began was found"
    assert len(hits.keys) == 10
    assert np.all(np.diff(hits.scores) <= 0)
    keys, tokens = np.array(list(live)), np.stack(list(live.values()))
    better = [key for key, score in brute_force(keys, tokens, vector, 10) if score > hits.scores[-1] + 1e-9]
    assert set(better) <= set(hits.keys.tolist()), "an image that was live all the time was missed"
