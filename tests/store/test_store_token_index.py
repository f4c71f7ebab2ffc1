"""Searching tokens is exact: ids and scores of brute force in fp64, for any split and any selection."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import CorruptionError, InputError
from sightline.retriever.max_sim import Part, TailPart, search
from sightline.store.durable import FileMissingError
from sightline.store.flat import FlatBackend
from sightline.store.flat.faiss_scan import CpuScan, copy_index
from sightline.store.flat.settling import SettlingIndex
from sightline.store.flat.token_index import RowHits, TokenIndex, kth_best, row_bitmap
from sightline.store.index import BuildRequest
from sightline.types import Mask
from tests.store.token_world import Published, brute_force, random_tokens, random_vector, write_segments

NONE = np.empty(0, np.int64)


def segment_index(keys: np.ndarray, tokens: np.ndarray) -> TokenIndex:
    return FlatBackend("nowhere").tail(keys, tokens)


def found(parts: list[TailPart], vector: np.ndarray, images: int) -> list[tuple[int, float]]:
    """The first part is searched as a generation, the others as segments."""
    first = Part(parts[0].index, parts[0].allowed) if parts else None
    hits = search(first, parts[1:], vector, images)
    assert hits.searched == sum(len(p.index.keys) if p.allowed is None else p.allowed.sum() for p in parts)
    return list(zip(hits.keys.tolist(), hits.scores.tolist(), strict=True))


def check(actual: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    assert [key for key, _ in actual] == [key for key, _ in expected]
    assert [score for _, score in actual] == pytest.approx([score for _, score in expected], abs=1e-6)


def shuffled_keys(rng: np.random.Generator, images: int) -> np.ndarray:
    return rng.permutation(np.arange(1000, 1000 + 3 * images, 3))


def test_two_hundred_queries_over_one_index_equal_brute_force() -> None:
    rng = np.random.default_rng(0)
    keys, tokens = shuffled_keys(rng, 700), random_tokens(rng, 700)
    index = segment_index(keys, tokens)
    for query in range(200):
        vector, images = random_vector(rng), (1, 5, 40, 700, 900)[query % 5]
        check(found([TailPart(index)], vector, images), brute_force(keys, tokens, vector, images))


def test_two_hundred_queries_over_generation_and_segments_with_selections_equal_brute_force(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(1)
    keys, tokens = shuffled_keys(rng, 800), random_tokens(rng, 800)
    reader, segments = write_segments(tmp_path, keys, tokens, 50)
    built = FlatBackend(tmp_path).build(reader, BuildRequest(segments[:11], NONE))
    indexes = [FlatBackend(tmp_path).open(built.file, built.sha256)]
    indexes += [segment_index(*reader.tokens(segment.file)) for segment in segments[11:]]
    for query in range(200):
        vector, images = random_vector(rng), int(rng.integers(1, 60))
        share = (1.0, 0.9, 0.1, 0.01, 0.0)[query % 5]
        allowed = set(keys[rng.random(800) < share].tolist())
        parts = [TailPart(i, None if share == 1 else np.isin(i.keys, list(allowed))) for i in indexes]
        expected = brute_force(keys, tokens, vector, images, None if share == 1 else allowed)
        check(found(parts, vector, images), expected)


def test_the_split_into_parts_does_not_change_a_single_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    keys, tokens = shuffled_keys(rng, 300), random_tokens(rng, 300, queries=3, dim=48)
    whole = [TailPart(segment_index(keys, tokens))]
    pieces = [TailPart(segment_index(keys[i : i + 70], tokens[i : i + 70])) for i in range(0, 300, 70)]
    for _ in range(50):
        vector = random_vector(rng, 48)
        assert found(whole, vector, 30) == found(pieces, vector, 30)
        assert found(whole, vector, 30) == found(pieces[::-1], vector, 30)


def test_one_image_that_owns_all_the_best_tokens_does_not_hide_the_others() -> None:
    # 256 tokens of image 0 beat everything, so the first prefix sees one image only.
    rng = np.random.default_rng(3)
    tokens = random_tokens(rng, 60, queries=256, dim=16)
    vector = random_vector(rng)
    tokens[0] = vector.astype(np.float16)
    keys = np.arange(60)
    check(found([TailPart(segment_index(keys, tokens))], vector, 10), brute_force(keys, tokens, vector, 10))


class RoughScan:
    """A scan that is wrong by up to ``rounding`` and answers only a few hits, as a GPU is and does."""

    rounding = 2e-3

    def __init__(self, tokens: np.ndarray) -> None:
        self.rows = tokens.reshape(-1, tokens.shape[2]).astype(np.float32)
        self.asked = 0

    def can_answer(self, count: int, restricted: bool) -> bool:
        return not restricted and count <= 300

    def search(self, vector: np.ndarray, count: int, bitmap: np.ndarray | None) -> RowHits:
        self.asked += 1
        noise = np.random.default_rng(int(abs(vector[0]) * 1e6)).uniform(-1, 1, len(self.rows))
        scores = (self.rows @ vector + noise * self.rounding).astype(np.float32)
        order = np.argsort(-scores)[:count]
        return RowHits(scores[order], order)


def test_a_scan_that_rounds_and_gives_few_hits_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    keys, tokens = shuffled_keys(rng, 500), random_tokens(rng, 500)
    rough = RoughScan(tokens)
    index = TokenIndex(keys, tokens, (rough, CpuScan(copy_index(tokens))))
    rest = segment_index(keys + 1, random_tokens(rng, 500))
    everything = np.concatenate([keys, keys + 1]), np.concatenate([tokens, rest.tokens])
    for query in range(100):
        vector, images = random_vector(rng), (1, 4, 15, 100)[query % 4]
        check(found([TailPart(index)], vector, images), brute_force(keys, tokens, vector, images))
        check(
            found([TailPart(index), TailPart(rest)], vector, images), brute_force(*everything, vector, images)
        )
    assert rough.asked > 100


class HighScan(RoughScan):
    """As wrong as it may be, always upward."""

    def search(self, vector: np.ndarray, count: int, bitmap: np.ndarray | None) -> RowHits:
        scores = (self.rows @ vector + self.rounding).astype(np.float32)
        order = np.argsort(-scores)[:count]
        return RowHits(scores[order], order)


def test_a_score_that_was_rounded_up_does_not_hide_a_better_image_in_the_next_part() -> None:
    vector = np.array([1, 0, 0, 0], np.float32)
    worse, better = (np.array([[[x, 0, 0, 0]]], np.float16) for x in (0.5, 0.501))
    index = TokenIndex(np.array([1]), worse, (HighScan(worse), CpuScan(copy_index(worse))))
    parts = [TailPart(index), TailPart(segment_index(np.array([2]), better))]
    assert [key for key, _ in found(parts, vector, 1)] == [2]


def test_a_key_in_two_parts_is_found_once() -> None:
    rng = np.random.default_rng(13)
    tokens, vector = random_tokens(rng, 6), random_vector(rng)
    parts = [
        TailPart(segment_index(np.arange(4), tokens[:4])),
        TailPart(segment_index(np.arange(2, 6), tokens[2:])),
    ]
    check(found(parts, vector, 5), brute_force(np.arange(6), tokens, vector, 5))


def test_equal_images_come_in_the_order_of_their_keys() -> None:
    tokens = np.repeat(random_tokens(np.random.default_rng(5), 1), 9, axis=0)
    keys = np.array([5, 3, 9, 1, 7, 2, 8, 6, 4])
    parts = [TailPart(segment_index(keys[:4], tokens[:4])), TailPart(segment_index(keys[4:], tokens[4:]))]
    assert [key for key, _ in found(parts, random_vector(np.random.default_rng(6)), 5)] == [1, 2, 3, 4, 5]


def test_negative_scores_are_found_too() -> None:
    vector = random_vector(np.random.default_rng(7))
    tokens = np.tile(-vector.astype(np.float16), (3, 2, 1))
    tokens[1] *= np.float16(0.5)
    hits = found([TailPart(segment_index(np.array([1, 2, 3]), tokens))], vector, 2)
    assert [key for key, _ in hits] == [2, 1]
    assert [score for _, score in hits] == pytest.approx([-0.5, -1], abs=1e-3)


def test_nothing_to_search_gives_nothing() -> None:
    index = segment_index(np.arange(3), random_tokens(np.random.default_rng(0), 3))
    vector = random_vector(np.random.default_rng(0))
    assert found([], vector, 5) == []
    assert found([TailPart(index, np.zeros(3, np.bool_))], vector, 5) == []
    assert found([TailPart(segment_index(NONE, np.empty((0, 4, 16), np.float16)))], vector, 5) == []


@pytest.mark.parametrize("queries", [1, 3, 8, 32])
def test_a_bitmap_has_the_bits_of_the_allowed_images(queries: int) -> None:
    allowed: Mask = np.array([True, False, False, True, True])
    bits = np.unpackbits(row_bitmap(allowed, queries), bitorder="little")[: 5 * queries]
    assert bits.tolist() == [int(allowed[row // queries]) for row in range(5 * queries)]


def test_kth_best_counts_images_not_tokens() -> None:
    scores, images = np.array([0.9, 0.8, 0.7, 0.6]), np.array([4, 4, 2, 9])
    assert [kth_best(scores, images, k) for k in (1, 2, 3, 4)] == [0.9, 0.7, 0.6, -np.inf]


def test_a_generation_holds_the_living_keys_once_and_says_what_it_covers(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    keys, tokens = shuffled_keys(rng, 90), random_tokens(rng, 90)
    reader, segments = write_segments(tmp_path / "segments", keys, tokens, 40, first_id=7)
    dead = np.sort(rng.choice(keys, 20, replace=False))
    # The first segment is named twice, as after a merge that was not folded yet.
    built = FlatBackend(tmp_path).build(
        reader, BuildRequest([*segments, Published(12, segments[0].file)], dead)
    )
    index = FlatBackend(tmp_path).open(built.file, built.sha256)
    alive = ~np.isin(keys, dead)
    assert built.covered == (7, 8, 9, 12)
    assert built.images == len(index.keys) == 70
    assert np.array_equal(index.keys, keys[alive])
    assert np.array_equal(index.tokens, tokens[alive])
    assert (tmp_path / built.file).stat().st_size == built.bytes


def test_a_generation_of_nothing_but_dead_images_is_empty_and_opens(tmp_path: Path) -> None:
    keys, tokens = np.arange(5), random_tokens(np.random.default_rng(0), 5)
    reader, segments = write_segments(tmp_path, keys, tokens, 5)
    built = FlatBackend(tmp_path).build(reader, BuildRequest(segments, keys))
    index = FlatBackend(tmp_path).open(built.file, built.sha256)
    assert (built.images, len(index.keys)) == (0, 0)
    assert found([TailPart(index)], random_vector(np.random.default_rng(0)), 3) == []


def test_a_generation_is_searched_in_its_file_without_a_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    keys, tokens = np.arange(50), random_tokens(rng, 50)
    reader, segments = write_segments(tmp_path, keys, tokens, 50)
    built = FlatBackend(tmp_path).build(reader, BuildRequest(segments, NONE))
    index = FlatBackend(tmp_path).open(built.file, built.sha256)
    assert isinstance(index, SettlingIndex)
    (scan,) = index.searched.scans
    assert isinstance(scan, CpuScan)
    assert not scan.owns_its_codes
    (tmp_path / built.file).unlink()  # the map outlives the name
    vector = random_vector(rng)
    check(found([TailPart(index)], vector, 7), brute_force(keys, tokens, vector, 7))


def test_builds_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    reader, segments = write_segments(tmp_path, np.arange(4), random_tokens(rng, 4), 4)
    _, other = write_segments(tmp_path, np.arange(10, 14), random_tokens(rng, 4, queries=5), 4, first_id=2)
    with pytest.raises(InputError, match="no segments"):
        FlatBackend(tmp_path).build(reader, BuildRequest([], NONE))
    with pytest.raises(InputError, match="different models"):
        FlatBackend(tmp_path).build(reader, BuildRequest([*segments, *other], NONE))
    with pytest.raises(FileMissingError):
        FlatBackend(tmp_path).build(reader, BuildRequest([Published(9, "gone")], NONE))
    path = tmp_path / segments[0].file
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    with pytest.raises(CorruptionError, match="not what was written"):
        FlatBackend(tmp_path).build(reader, BuildRequest(segments, NONE))


def test_two_hundred_flipped_bytes_in_a_generation_are_all_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    reader, segments = write_segments(tmp_path, np.arange(40), random_tokens(rng, 40), 40)
    built = FlatBackend(tmp_path).build(reader, BuildRequest(segments, NONE))
    path = tmp_path / built.file
    original = path.read_bytes()
    header = int.from_bytes(original[:8], "little") + 8
    # Half of them in the headers, ours and FAISS's, which are what could crash a reader.
    positions = [*rng.integers(0, header + 40 * 8 + 128, 100), *rng.integers(0, len(original), 100)]
    for position in positions:
        mutated = bytearray(original)
        mutated[position] ^= int(rng.integers(1, 256))
        path.write_bytes(mutated)
        with pytest.raises(CorruptionError):
            FlatBackend(tmp_path).open(built.file, built.sha256)
    path.write_bytes(original)
    FlatBackend(tmp_path).verify(built.file, built.sha256)


def test_a_generation_that_is_missing_or_something_else_is_refused(tmp_path: Path) -> None:
    _, segments = write_segments(tmp_path, np.arange(4), random_tokens(np.random.default_rng(0), 4), 4)
    with pytest.raises(FileMissingError):
        FlatBackend(tmp_path).open("gone", "0" * 64)
    sha256 = hashlib.sha256((tmp_path / segments[0].file).read_bytes()).hexdigest()
    with pytest.raises(CorruptionError, match="no generation"):
        FlatBackend(tmp_path).open(segments[0].file, sha256)


def test_searches_in_many_threads_are_all_exact() -> None:
    rng = np.random.default_rng(12)
    keys, tokens = np.arange(400), random_tokens(rng, 400)
    parts = [TailPart(segment_index(keys, tokens), rng.random(400) < 0.8)]
    allowed = set(keys[parts[0].allowed].tolist())
    vectors = [random_vector(rng) for _ in range(64)]
    start = threading.Barrier(8, timeout=10)

    def answer(worker: int) -> list[list[tuple[int, float]]]:
        start.wait(10)
        return [found(parts, vector, 9) for vector in vectors[worker::8]]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, range(8), timeout=60))
    for worker, lists in enumerate(answers):
        for vector, hits in zip(vectors[worker::8], lists, strict=True):
            check(hits, brute_force(keys, tokens, vector, 9, allowed))
