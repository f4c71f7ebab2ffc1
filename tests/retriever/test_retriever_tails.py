"""What is unfolded is scanned in few blocks, whatever segments it came in, and answered as one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sightline.retriever.max_sim import ImageHits, search
from sightline.retriever.tails import LiveSegment, Losses, Tails
from sightline.store.backends import open_indexes
from sightline.store.durable import FileMissingError
from sightline.store.segments import SegmentReader, write_segment
from tests.store.token_world import brute_force, random_tokens, random_vector

QUERIES, DIM = 4, 16
EACH = 2 * QUERIES * DIM
"""Bytes of an image's tokens."""


class Unfolded:
    """Segments outside of any generation, and what is in them."""

    def __init__(self, folder: Path, max_bytes: int = 1 << 30) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(3)
        self.segments: list[LiveSegment] = []
        self.tokens: dict[str, np.ndarray] = {}
        self.reader = SegmentReader(folder / "segments")
        self.tails = Tails(self.reader, open_indexes(folder / "generations"), max_bytes)

    def add(self, images: int) -> None:
        first = 1 + sum(len(one.keys) for one in self.segments) + 1000 * len(self.segments)
        keys = np.arange(first, first + images)
        tokens = random_tokens(self.rng, images, QUERIES, DIM)
        written = write_segment(self.reader.folder, keys, tokens, None, "none")
        self.segments.append(LiveSegment(written.file, keys, None))
        self.tokens[written.file] = tokens

    def blocks(self, segments: list[LiveSegment] | None = None) -> int:
        parts = self.tails.parts(self.segments if segments is None else segments, None, Losses())
        return sum(1 for _ in parts)

    def check(self, segments: list[LiveSegment] | None = None, wanted: np.ndarray | None = None) -> None:
        """The best 20 by the retriever's way and by definition."""
        segments = self.segments if segments is None else segments
        vector = random_vector(self.rng, DIM)
        found = self.found(segments, vector, wanted)
        living = [one.keys if one.live is None else one.keys[one.live] for one in segments]
        keys = np.concatenate([one.keys for one in segments])
        tokens = np.concatenate([self.tokens[one.file] for one in segments])
        chosen = set(np.concatenate(living).tolist())
        chosen &= chosen if wanted is None else set(wanted.tolist())
        right = brute_force(keys, tokens.astype(np.float64), vector, 20, chosen)
        assert found.keys.tolist() == [key for key, _ in right]
        assert np.allclose(found.scores, [score for _, score in right], rtol=0, atol=1e-9)
        assert found.searched == len(chosen)

    def found(
        self, segments: list[LiveSegment], vector: np.ndarray, wanted: np.ndarray | None = None
    ) -> ImageHits:
        return search(None, self.tails.parts(segments, wanted, Losses()), vector, 20)


@pytest.fixture
def unfolded(tmp_path: Path) -> Unfolded:
    return Unfolded(tmp_path)


def test_many_small_segments_are_few_blocks_however_they_came(unfolded: Unfolded) -> None:
    for number in range(64):
        unfolded.add(1 + number % 5)
        if number % 3:
            unfolded.check()
    assert unfolded.blocks() <= 7
    again = Tails(unfolded.reader, open_indexes(unfolded.folder / "generations"))
    assert sum(1 for _ in again.parts(unfolded.segments, None, Losses())) == 1


def test_a_new_segment_copies_few_of_the_tokens_that_are_there(unfolded: Unfolded) -> None:
    copied, before = [], []
    for _ in range(64):
        unfolded.add(8)
        now = [part.index for part in unfolded.tails.parts(unfolded.segments, None, Losses())]
        copied.append(sum(len(one.keys) for one in now if not any(one is old for old in before)))
        before = now
    assert sum(copied) <= 8 * 64 * 7, "each token about log₂(64) times"


def test_filters_dead_images_and_segments_that_go_leave_no_trace_in_answers(unfolded: Unfolded) -> None:
    for _ in range(12):
        unfolded.add(10)
    unfolded.check()
    everything = np.concatenate([one.keys for one in unfolded.segments])
    for share in (2, 3, 40):
        unfolded.check(wanted=everything[::share])
    dead = [
        LiveSegment(one.file, one.keys, np.arange(10) % 3 > 0 if number % 2 else None)
        for number, one in enumerate(unfolded.segments)
    ]
    unfolded.check(dead)
    unfolded.check(dead, wanted=everything[::2])
    unfolded.check(dead[3:7])  # a version that knows fewer of them
    unfolded.check(dead[5:])
    unfolded.add(10)
    unfolded.check([*dead[5:], unfolded.segments[-1]])
    unfolded.check()


def test_more_than_is_kept_is_answered_too(tmp_path: Path) -> None:
    unfolded = Unfolded(tmp_path, max_bytes=100 * EACH)
    for _ in range(30):
        unfolded.add(7)
        unfolded.check()
        assert unfolded.tails._cache._bytes <= 100 * EACH
    unfolded.check(unfolded.segments[4:9])


def test_damage_costs_the_images_that_it_hit_and_nobody_beside_them(unfolded: Unfolded) -> None:
    for _ in range(6):
        unfolded.add(10)
    hit, gone = unfolded.segments[2], unfolded.segments[4]
    path = unfolded.reader.folder / hit.file
    content = path.read_bytes()
    place = content.index(unfolded.tokens[hit.file][3].tobytes())
    path.write_bytes(content[:place] + b"\x55\x2a" + content[place + 2 :])
    (unfolded.reader.folder / gone.file).rename(tmp := unfolded.folder / "aside")
    lost = Losses()
    with pytest.raises(FileMissingError):
        list(unfolded.tails.parts(unfolded.segments, None, lost))
    for _ in range(2):
        lost = Losses()
        parts = list(unfolded.tails.parts(unfolded.segments, None, lost, tolerant=True))
        assert lost.segments == {hit.file: 1, gone.file: 10}
        keys = np.concatenate([part.index.keys for part in parts])
        assert len(keys) == 49
        assert hit.keys[3] not in keys
    path.write_bytes(content)
    tmp.rename(unfolded.reader.folder / gone.file)
    unfolded.tails.forget_partial()
    unfolded.check()


def test_threads_that_meet_new_segments_together_answer_alike(unfolded: Unfolded) -> None:
    for _ in range(40):
        unfolded.add(3)
    vector = random_vector(unfolded.rng, DIM)
    counts = [5 + 5 * (number % 8) for number in range(48)]
    right = {
        count: Unfolded.found(unfolded, unfolded.segments[:count], vector).keys.tolist() for count in counts
    }
    unfolded.tails = Tails(unfolded.reader, open_indexes(unfolded.folder / "generations"))
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda count: unfolded.found(unfolded.segments[:count], vector), counts, timeout=60)
        assert [one.keys.tolist() for one in found] == [right[count] for count in counts]
