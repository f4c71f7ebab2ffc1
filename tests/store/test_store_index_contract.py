"""What every index backend keeps to, whatever its kind."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import CorruptionError, InputError, NotFoundError
from sightline.retriever.max_sim import Part, TailPart, search
from sightline.store.backends import open_indexes
from sightline.store.durable import FileMissingError
from sightline.store.index import BuildRequest, BuiltIndex, CandidateIndex, IndexBackend, Indexes, Wanted
from sightline.store.segment_tokens import SegmentTokens
from sightline.store.segments import SegmentReader
from tests.store.sampled_index import SampledBackend
from tests.store.token_world import (
    Published,
    brute_force,
    random_texts,
    random_tokens,
    random_vector,
    write_segments,
)

KINDS = [*open_indexes("nowhere").backends, "sampled"]
NONE = np.empty(0, np.int64)
TEXTS = random_texts(np.random.default_rng(7), 80)


def all_indexes(folder: Path, kind: str) -> Indexes:
    """Every registered backend and the tests' own, each with a folder of its own; ``kind`` is the default."""
    backends = dict(open_indexes(folder / "generations").backends)
    return Indexes({**backends, "sampled": SampledBackend(folder / "sampled")}, kind)


@dataclass(frozen=True)
class Shelf:
    """240 images in six segments, the last two of them not covered; 20 of all are dead."""

    folder: Path
    backend: IndexBackend
    keys: np.ndarray
    tokens: np.ndarray
    dead: np.ndarray
    reader: SegmentReader
    segments: Sequence[Published]
    built: BuiltIndex

    @property
    def folded(self) -> np.ndarray:
        """``[240]``: who is in the generation."""
        return (np.arange(240) < 160) & ~np.isin(self.keys, self.dead)

    def open(self, built: BuiltIndex) -> CandidateIndex:
        """With the tokens of all segments, as whoever searches has them."""
        tokens = SegmentTokens(self.reader.folder, self.tokens.shape[1], self.tokens.shape[2])
        tokens.cover([], [(one.file, self.reader.head(one.file)) for one in self.segments])
        return self.backend.open(built.file, built.sha256, tokens)

    @property
    def path(self) -> Path:
        (path,) = self.folder.rglob(self.built.file)
        return path


@pytest.fixture(params=KINDS)
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    rng = np.random.default_rng(0)
    keys = rng.permutation(np.arange(1000, 1000 + 3 * 240, 3))
    tokens = random_tokens(rng, 240)
    dead = np.sort(rng.choice(keys, 20, replace=False))
    reader, segments = write_segments(tmp_path / "segments", keys, tokens, 40)
    backend = all_indexes(tmp_path, request.param).of()
    built = backend.build(reader, BuildRequest(segments[:4], dead, texts=TEXTS))
    return Shelf(tmp_path, backend, keys, tokens, dead, reader, segments, built)


def tails(shelf: Shelf) -> list[TailPart]:
    parts = [shelf.backend.tail(*shelf.reader.tokens(segment.file)) for segment in shelf.segments[4:]]
    return [TailPart(part, ~np.isin(part.keys, shelf.dead)) for part in parts]


def pairs(hits: object) -> list[tuple[int, float]]:
    return list(zip(hits.keys.tolist(), hits.scores.tolist(), strict=True))  # type: ignore[attr-defined]


# --- scores -----------------------------------------------------------------------------------------------


def test_scores_and_order_are_those_of_all_tokens_in_fp64(shelf: Shelf) -> None:
    rng = np.random.default_rng(1)
    index = shelf.open(shelf.built)
    live = set(shelf.keys.tolist()) - set(shelf.dead.tolist())
    for query in range(60):
        vector, images = random_vector(rng), (1, 7, 40, 300)[query % 4]
        found = pairs(search(Part(index), tails(shelf), vector, images))
        everything = brute_force(shelf.keys, shelf.tokens, vector, 240, live)
        exact = dict(everything)
        assert [score for _, score in found] == pytest.approx([exact[key] for key, _ in found], abs=1e-9)
        assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))
        assert len({key for key, _ in found}) == len(found)
        if index.exact:
            assert [key for key, _ in found] == [key for key, _ in everything[:images]]
        else:
            assert len(found) >= min(images, 60)


def test_an_image_scores_the_same_folded_or_not_bit_by_bit(shelf: Shelf) -> None:
    rng = np.random.default_rng(2)
    index = shelf.open(shelf.built)
    unfolded = [shelf.backend.tail(*shelf.reader.tokens(segment.file)) for segment in shelf.segments[:4]]
    for _ in range(30):
        vector = random_vector(rng)
        before = dict(pairs(search(None, [TailPart(tail) for tail in unfolded], vector, 240)))
        after = pairs(search(Part(index), [], vector, 240))
        assert after
        assert all(before[key] == score for key, score in after)


def test_a_tail_is_exact_and_may_only_leave_out_what_is_below_the_floor(shelf: Shelf) -> None:
    rng = np.random.default_rng(3)
    tail = shelf.backend.tail(shelf.keys, shelf.tokens)
    assert tail.exact
    for query in range(40):
        vector, images = random_vector(rng), (1, 6, 50)[query % 3]
        expected = brute_force(shelf.keys, shelf.tokens, vector, images)
        floor = (-np.inf, expected[len(expected) // 2][1])[query % 2]
        rows = tail.best_rows(vector, Wanted(images, floor, images // 4), None)
        named = set(rows.tolist())
        for key, score in expected:
            if score >= floor:
                position = int(np.flatnonzero(shelf.keys == key)[0])
                products = shelf.tokens[position].astype(np.float64) @ vector.astype(np.float64)
                assert position * 4 + int(np.argmax(products)) in named


# --- what is allowed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_what_is_allowed_selects_and_does_not_thin_out_afterwards(shelf: Shelf, share: float) -> None:
    rng = np.random.default_rng(4)
    index = shelf.open(shelf.built)
    for _ in range(20):
        vector = random_vector(rng)
        worst_first = brute_force(index.keys, shelf.tokens[_positions(shelf, index.keys)], vector, 240)[::-1]
        few = {key for key, _ in worst_first[: int(share * len(worst_first))]}
        allowed = np.isin(index.keys, list(few))
        found = pairs(search(Part(index, allowed), [], vector, 5))
        assert {key for key, _ in found} <= few
        if index.exact:
            expected = [pair for pair in worst_first[::-1] if pair[0] in few][:5]
            assert [key for key, _ in found] == [key for key, _ in expected]
        else:
            assert bool(found) == bool(few)


def test_several_vectors_at_once_find_what_each_finds_alone(shelf: Shelf) -> None:
    rng = np.random.default_rng(5)
    index = shelf.open(shelf.built)
    vectors = np.stack([random_vector(rng) for _ in range(7)])
    together = index.candidates(vectors, 9, None, None)
    assert len(together) == 7
    for vector, rows in zip(vectors, together, strict=True):
        (alone,) = index.candidates(vector[None], 9, None, None)
        assert sorted(rows.tolist()) == sorted(alone.tolist())


# --- what it holds -----------------------------------------------------------------------------------------


def test_it_holds_the_living_keys_once_with_their_tokens_bit_by_bit(shelf: Shelf) -> None:
    built = shelf.built
    again = shelf.backend.build(
        shelf.reader, BuildRequest([*shelf.segments[:4], shelf.segments[0]], shelf.dead, texts=TEXTS)
    )
    for one in (built, again):
        index = shelf.open(one)
        assert sorted(index.keys.tolist()) == sorted(shelf.keys[shelf.folded].tolist())
        assert one.images == len(index.keys)
        expected = shelf.tokens[_positions(shelf, index.keys)].reshape(-1, 16)
        assert np.array_equal(index.tokens_at(np.arange(len(expected))), expected)
        report = shelf.backend.report(one.file, one.sha256)
        assert (report.problem, report.bytes) == (None, one.bytes)
        assert np.array_equal(report.keys, index.keys)
    assert built.covered == tuple(segment.id for segment in shelf.segments[:4])
    assert again.file != built.file, "a name is never used twice"


def test_a_generation_of_nothing_but_dead_images_opens_and_names_nothing(shelf: Shelf) -> None:
    built = shelf.backend.build(shelf.reader, BuildRequest(shelf.segments[:2], shelf.keys, texts=TEXTS))
    index = shelf.open(built)
    assert (built.images, len(index.keys)) == (0, 0)
    assert pairs(search(Part(index), [], random_vector(np.random.default_rng(0)), 3)) == []


def test_builds_that_cannot_be_right_are_refused_and_leave_nothing(shelf: Shelf) -> None:
    before = shelf.backend.files.stored()
    other_tokens = random_tokens(np.random.default_rng(0), 4, queries=5)
    _, other = write_segments(shelf.reader.folder, np.arange(4), other_tokens, 4, first_id=90)
    with pytest.raises(InputError):
        shelf.backend.build(shelf.reader, BuildRequest([], NONE, texts=TEXTS))
    with pytest.raises(InputError):
        shelf.backend.build(shelf.reader, BuildRequest([shelf.segments[0], *other], NONE, texts=TEXTS))
    with pytest.raises(FileMissingError):
        shelf.backend.build(shelf.reader, BuildRequest([Published(91, "gone")], NONE, texts=TEXTS))
    path = shelf.reader.folder / shelf.segments[5].file
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    with pytest.raises(CorruptionError):
        shelf.backend.build(shelf.reader, BuildRequest(shelf.segments, NONE, texts=TEXTS))
    assert shelf.backend.files.stored() == before


# --- damage, age, removal ----------------------------------------------------------------------------------


def test_a_flipped_byte_anywhere_is_found_before_anything_is_answered(shelf: Shelf) -> None:
    file, sha256 = shelf.built.file, shelf.built.sha256
    original = shelf.path.read_bytes()
    for position in np.random.default_rng(6).integers(0, len(original), 60):
        damaged = bytearray(original)
        damaged[position] ^= 0x10
        shelf.path.write_bytes(damaged)
        with pytest.raises(CorruptionError):
            shelf.backend.open(file, sha256)
        with pytest.raises(CorruptionError):
            shelf.backend.verify(file, sha256)
        report = shelf.backend.report(file, sha256)
        assert report.problem is not None
        assert len(report.keys) == 0
    shelf.path.write_bytes(original)
    shelf.backend.verify(file, sha256)


def test_what_is_gone_is_said_to_be_missing_and_removing_it_again_is_nothing(shelf: Shelf) -> None:
    file, sha256 = shelf.built.file, shelf.built.sha256
    shelf.backend.verify(file, sha256, quick=True)
    shelf.backend.remove(file)
    for look in (shelf.backend.open, shelf.backend.verify):
        with pytest.raises(FileMissingError, match=file):
            look(file, sha256)
    with pytest.raises(FileMissingError):
        shelf.backend.verify(file, sha256, quick=True)
    assert file in str(shelf.backend.report(file, sha256).problem)
    shelf.backend.remove(file)
    assert file not in shelf.backend.files.stored()


def test_what_holds_a_key_is_erased_and_nothing_else(shelf: Shelf) -> None:
    other = shelf.backend.build(shelf.reader, BuildRequest(shelf.segments[4:], NONE, texts=TEXTS))
    shelf.backend.erase(np.array([999_999_999, shelf.keys[shelf.folded][7]]))
    assert shelf.built.file not in shelf.backend.files.stored()
    shelf.backend.verify(other.file, other.sha256)


def test_readers_go_on_in_many_threads_while_it_is_removed(shelf: Shelf) -> None:
    index = shelf.open(shelf.built)
    vectors = [random_vector(np.random.default_rng(seed)) for seed in range(40)]
    before = [pairs(search(Part(index), [], vector, 9)) for vector in vectors]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(search, Part(index), [], vector, 9) for vector in vectors * 5]
        shelf.backend.remove(shelf.built.file)
        assert [pairs(one.result(60)) for one in asked] == before * 5


def test_it_tells_its_own_files_from_all_others_in_the_folder(shelf: Shelf) -> None:
    folder, files = shelf.path.parent, shelf.backend.files
    built = {shelf.built.file, *shelf.built.parameters.get("files", ())}
    assert files.stored() == built
    ending = shelf.built.file[32:]
    ours = {f"{'a' * 32}{ending}", f".aside-{'b' * 32}{ending}"}
    others = {
        "thesis.odt",
        f"notes{ending}",
        f"{'a' * 32}",
        f"{'c' * 32}{ending}.txt",
        f"x{'d' * 32}{ending}",
    }
    for name in ours | others:
        (folder / name).touch()
    (folder / f"{'e' * 32}{ending}").mkdir()
    (folder / f"{'f' * 32}{ending}").symlink_to(folder / "thesis.odt")
    assert files.stored() == ours | built
    for name in (*others, f"{'e' * 32}{ending}", f"{'f' * 32}{ending}"):
        shelf.backend.remove(name)
        files.set_aside(name)
        assert (folder / name).exists(), name


def test_a_kind_that_is_not_registered_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no index of kind 'unheard'.*flat"):
        open_indexes(tmp_path).of("unheard")


def _positions(shelf: Shelf, keys: np.ndarray) -> np.ndarray:
    order = np.argsort(shelf.keys)
    return order[np.searchsorted(shelf.keys, keys, sorter=order)]
