"""Files are lost or rot under the retriever: what is left is answered exactly, and it says what is not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightline.retriever import Retriever
from sightline.retriever.records import Retrieved
from sightline.store.backends import open_indexes
from sightline.store.filters import parse_filter
from sightline.store.flat.settling import ENOUGH, THREAD
from sightline.store.segments import SegmentReader
from tests.retriever.living_collection import Living, living_collection
from tests.store.token_world import brute_force, random_vector

LATER = 3600.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """120 images in six segments, of which the generation covers three."""
    with living_collection(tmp_path, 11) as living:
        living.put([f"a{n}" for n in range(60)], batch_size=20)
        living.fold()
        living.put([f"b{n}" for n in range(60)], batch_size=20)
        yield living


def answer(living: Living, vector: np.ndarray, retriever: Retriever | None = None) -> Retrieved:
    return (retriever or living.retriever).retrieve("pictures", vector, 30)


def expected(living: Living, vector: np.ndarray, without: set[int]) -> list[int]:
    ids = [one for one in sorted(living.keys) if living.keys[one] not in without]
    keys, tokens = np.array([living.keys[i] for i in ids]), np.stack([living.tokens[i] for i in ids])
    return [key for key, _ in brute_force(keys, tokens, vector, 30)]


def tail(living: Living) -> tuple[Path, set[int]]:
    """A segment that no generation covers, and who is in it."""
    file = living.catalog.snapshot("pictures").uncovered[1].file
    return living.reader.folder / file, set(living.reader.keys(file).tolist())


@pytest.mark.parametrize("before", ["opened", "not opened"])
@pytest.mark.parametrize("damage", ["lost", "emptied", "flipped head"])
def test_one_segment_that_is_lost_or_damaged_takes_only_its_images_away(
    living: Living, damage: str, before: str
) -> None:
    path, gone = tail(living)
    reader = SegmentReader(living.reader.folder)
    retriever = Retriever(living.catalog, reader, living.indexes)
    if before == "opened":
        nothing = parse_filter({"field": "metadata.year", "range": {"gte": 9999}})
        retriever.retrieve("pictures", random_vector(living.rng), 1, nothing)  # no tokens were read
    data = path.read_bytes()
    path.unlink()
    if damage != "lost":
        path.write_bytes(b"" if damage == "emptied" else data[:20] + bytes([data[20] ^ 1]) + data[21:])
    for _ in range(5):
        vector = random_vector(living.rng)
        found = answer(living, vector, retriever)
        assert [one.key for one in found.candidates] == expected(living, vector, gone)
        (said,) = found.degraded
        assert said.startswith("20 images could not be searched")
    assert retriever.degraded(living.catalog.snapshot("pictures")) == found.degraded
    everything = parse_filter({"field": "metadata.year", "exists": True})
    assert retriever.retrieve("pictures", vector, 30, everything).degraded == found.degraded


def test_what_is_brought_back_is_found_again(living: Living) -> None:
    clock = Clock()
    retriever = Retriever(living.catalog, living.reader, living.indexes, clock)
    path, _ = tail(living)
    (generation,) = living.generations.iterdir()
    kept = {one: one.read_bytes() for one in (path, generation)}
    vector = random_vector(living.rng)
    for one in kept:
        one.unlink()
    assert len(answer(living, vector, retriever).degraded) == 2
    for one, data in kept.items():
        one.write_bytes(data)
    clock.now += LATER
    found = answer(living, vector, retriever)
    assert (found.degraded, found.generation) == ((), 1)
    assert [one.key for one in found.candidates] == expected(living, vector, set())
    assert retriever.degraded(living.catalog.snapshot("pictures")) == ()


def test_tokens_that_are_brought_back_are_found_again(living: Living) -> None:
    clock = Clock()
    retriever = Retriever(living.catalog, living.reader, living.indexes, clock)
    path, _ = tail(living)
    right = path.read_bytes()
    damaged = bytearray(right)
    damaged[living.reader.head(path.name).layout.starts["tokens"] + 5] ^= 2
    path.write_bytes(damaged)
    vector = random_vector(living.rng)
    assert answer(living, vector, retriever).degraded[0].startswith("1 image could not")
    path.write_bytes(right)
    clock.now += LATER
    found = answer(living, vector, retriever)
    assert found.degraded == ()
    assert [one.key for one in found.candidates] == expected(living, vector, set())


def test_tokens_that_became_nan_or_infinite_cost_their_image_and_reorder_no_other(living: Living) -> None:
    path, keys = tail(living)
    head = living.reader.head(path.name)
    data = bytearray(path.read_bytes())
    hit = {0: b"\xff\x7f", 7: b"\x00\x7c", 19: b"\x00\xfc"}
    for row, bits in hit.items():
        start = head.layout.starts["tokens"] + row * 4 * 16 * 2
        data[start : start + 2] = bits
    path.write_bytes(data)
    gone = {int(head.keys[row]) for row in hit}
    assert gone < keys
    for _ in range(5):
        vector = random_vector(living.rng)
        found = answer(living, vector)
        assert [one.key for one in found.candidates] == expected(living, vector, gone)
        assert found.degraded[0].startswith("3 images could not be searched")
    living.put([one for one, key in living.keys.items() if key in gone])
    assert answer(living, vector).degraded == (), "nothing that is live is missing any more"


@pytest.mark.parametrize("damage", ["missing", "flipped", "truncated"])
def test_without_its_generation_everything_is_scanned_and_said_to_be(living: Living, damage: str) -> None:
    (path,) = living.generations.iterdir()
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[:-1] if damage == "truncated" else data[:-9] + b"\x01" + data[-8:])
    for _ in range(5):
        vector = random_vector(living.rng)
        found = answer(living, vector)
        assert [one.key for one in found.candidates] == expected(living, vector, set())
        assert found.degraded == (
            "The token index is missing or damaged; every image was compared in its place.",
        )
    living.fold()
    assert answer(living, vector).degraded == ()


def test_what_is_missing_is_known_by_its_name_before_anybody_searches(living: Living) -> None:
    retriever = Retriever(living.catalog, living.reader, living.indexes)
    snapshot = living.catalog.snapshot("pictures")
    assert retriever.degraded(snapshot) == ()
    (living.reader.folder / snapshot.covered[0].file).unlink()
    (said,) = retriever.degraded(snapshot)
    assert said.startswith("The stored patches of 20 images")
    (living.reader.folder / snapshot.uncovered[0].file).unlink()
    assert len(retriever.degraded(snapshot)) == 2
    next(living.generations.iterdir()).unlink()
    assert [said.split()[0] for said in retriever.degraded(snapshot)] == ["The", "40"]


def spoil_while_open(folder: Path, damage: str, memory: int) -> None:
    """A generation of many pages is damaged after it was opened; answers stay right."""
    folder.mkdir()
    with living_collection(folder, 12) as living:
        living.put([f"a{n}" for n in range(400)], batch_size=200)
        living.fold()
        indexes = open_indexes(living.generations, memory_bytes=memory)
        retriever = Retriever(living.catalog, living.reader, indexes)
        vector = random_vector(living.rng)
        for _ in range(ENOUGH):
            right = [one.key for one in answer(living, vector, retriever).candidates]
        for thread in threading.enumerate():
            if thread.name == THREAD:
                thread.join(60)  # what may be in memory is there now
        (path,) = living.generations.iterdir()
        size = path.stat().st_size
        with path.open("r+b") as handle:
            if damage == "truncated":
                handle.truncate(5000)
            else:
                handle.seek(size // 3)
                handle.write(b"\xff\x7f" * (size // 4))
        found = answer(living, vector, retriever)
        assert [one.key for one in found.candidates] == right
        assert bool(found.degraded) == (memory == 0), found.degraded
        living.put(["b"])  # a new version: what was opened is used again, if it still can be
        assert len(answer(living, vector, retriever).candidates) == 30


def test_a_generation_that_is_damaged_while_it_is_open_changes_no_answer_and_kills_nobody(
    tmp_path: Path,
) -> None:
    """In a process of its own, which a read behind the end of a mapped file would kill."""
    command = [sys.executable, "-m", __name__, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


if __name__ == "__main__":
    for damage in ("truncated", "written to"):
        for memory in (0, 1 << 24):
            spoil_while_open(Path(sys.argv[1]) / f"{damage}-{memory}", damage, memory)
