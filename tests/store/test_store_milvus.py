"""Milvus generations on milvus-lite: grown, purged, killed, lost and synced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sightline import faultpoint
from sightline.errors import IndexUnavailableError
from sightline.retriever.max_sim import Part, search
from sightline.store.durable import ASIDE
from sightline.store.index import BuildRequest, BuiltIndex
from sightline.store.milvus import MilvusBackend, MilvusServer
from sightline.store.milvus.connection import LostRowsError
from sightline.store.milvus.manifest import read_manifest
from sightline.store.sample_texts import SampleTexts
from sightline.store.segments import SegmentReader
from tests.store.milvus_lite import milvus_backend, require_milvus, rows_of
from tests.store.token_world import (
    Published,
    brute_force,
    flat_tail,
    random_tokens,
    random_vector,
    stored_tokens,
    unit,
    write_segments,
)

ROOT = Path(__file__).parents[2]
NONE = np.empty(0, np.int64)


@dataclass
class World:
    """200 images of 4 tokens in five segments, and a server."""

    folder: Path
    backend: MilvusBackend
    keys: np.ndarray
    tokens: np.ndarray
    reader: SegmentReader
    segments: Sequence[Published]

    def build(
        self, segments: int, dead: np.ndarray = NONE, serving: BuiltIndex | None = None, strict: bool = False
    ) -> BuiltIndex:
        request = BuildRequest(self.segments[:segments], dead, serving, strict)  # type: ignore[arg-type]
        return self.backend.build(self.reader, request)

    def rows(self, built: BuiltIndex, keys: np.ndarray | None = None) -> int:
        rows = rows_of(self.backend, built.parameters["collection"])
        return rows.count("") if keys is None else rows.count_keys(keys)

    def found(self, built: BuiltIndex, vector: np.ndarray, wanted: int) -> list[int]:
        tokens = stored_tokens(self.reader, list(self.segments))
        index = self.backend.open(built.file, built.sha256, tokens)
        # All cells: what is found is exact then, whatever was measured.
        return search(Part(index), [], vector, wanted, probes=10_000).keys.tolist()

    def check(self, built: BuiltIndex, keys: np.ndarray) -> None:
        """What is found is what brute force finds among these keys."""
        rng = np.random.default_rng(9)
        for _ in range(5):
            vector = random_vector(rng)
            expected = brute_force(self.keys, self.tokens, vector, 20, set(keys.tolist()))
            assert len(set(self.found(built, vector, 20)) & {key for key, _ in expected}) >= 19


def make_world(folder: Path, backend: MilvusBackend) -> World:
    rng = np.random.default_rng(0)
    keys = rng.permutation(np.arange(1000, 1200))
    tokens = unit(rng.standard_normal((200, 4, 16))).astype(np.float16)
    reader, segments = write_segments(folder / "segments", keys, tokens, 40)
    return World(folder, backend, keys, tokens, reader, segments)


@pytest.fixture
def world(tmp_path: Path) -> World:
    require_milvus()
    return make_world(tmp_path, milvus_backend(tmp_path / "generations"))


def test_growth_inserts_the_new_hides_the_dead_and_disturbs_nobody(world: World) -> None:
    first = world.build(3)
    dead = world.keys[:10]
    second = world.build(4, dead, first)
    assert second.parameters["collection"] == first.parameters["collection"]
    assert world.rows(second) == 160 * 4
    world.backend.verify(first.file, first.sha256)
    world.check(first, world.keys[:120])
    world.check(second, world.keys[10:160])
    third = world.build(5, dead, second)
    assert world.rows(third, dead) == 0, "nobody counts on them any more"
    world.check(third, world.keys[10:])
    for old in (first, second):
        world.backend.remove(old.file)
    assert world.backend.report(third.file, third.sha256).problem is None
    world.backend.remove(third.file)
    assert not rows_of(world.backend, third.parameters["collection"]).exists()
    assert world.backend.files.stored() == set()


def test_a_purge_leaves_no_row_and_no_byte_of_a_key(world: World) -> None:
    first = world.build(4)
    dead = world.keys[:10]
    hiding = world.build(4, dead, first)
    purged = world.build(4, dead, hiding, strict=True)
    world.backend.erase(dead)
    assert world.backend.files.stored() == {purged.file}
    assert world.rows(purged, dead) == 0
    content = (world.folder / "generations" / purged.file).read_bytes()
    assert not any(int(key).to_bytes(8, "little") in content for key in dead)
    world.backend.verify(purged.file, purged.sha256)
    world.check(purged, world.keys[10:160])


def test_after_any_loss_the_server_agrees_again_and_the_file_stays_the_same(world: World) -> None:
    built = world.build(5)
    content = (world.folder / "generations" / built.file).read_bytes()
    rows = rows_of(world.backend, built.parameters["collection"])
    assert world.backend.sync(built.file, world.reader, world.segments) == (False, 0, 0, 0)

    rows.delete_keys(world.keys[:30])
    rows.insert(np.array([7, 8, 9]), world.tokens[:3], 5)  # nobody's
    rows.insert(world.keys[50:52], world.tokens[50:52], 5)  # twice
    assert world.backend.report(built.file, built.sha256).problem is not None
    assert world.backend.sync(built.file, world.reader, world.segments) == (False, 32, 3, 0)
    assert world.rows(built) == 200 * 4

    rows.drop()
    with pytest.raises(LostRowsError, match="sightline generations sync"):
        world.backend.verify(built.file, built.sha256)
    assert world.backend.sync(built.file, world.reader, world.segments) == (True, 200, 0, 0)
    world.backend.verify(built.file, built.sha256)
    world.check(built, world.keys)
    assert (world.folder / "generations" / built.file).read_bytes() == content

    rows.delete_keys(world.keys[:30])
    lacking = world.backend.sync(built.file, world.reader, world.segments[1:]).lacking
    assert lacking == 30, "of a segment that is gone"


def test_recall_is_measured_on_texts_and_zero_when_nobody_measured(tmp_path: Path) -> None:
    require_milvus()
    rng = np.random.default_rng(1)
    keys, tokens = np.arange(300), random_tokens(rng, 300)
    reader, segments = write_segments(tmp_path / "segments", keys, tokens, 100)
    backend = milvus_backend(tmp_path / "generations")
    vectors = np.stack([random_vector(rng) for _ in range(12)])
    texts = SampleTexts("t", vectors, np.zeros(12, np.int8))
    unknown = backend.build(reader, BuildRequest(segments, NONE))
    assert (unknown.recall, unknown.parameters["recall"]) == (0.0, 0.0)
    built = backend.build(reader, BuildRequest(segments, NONE, texts=texts, recall_target=0.95))
    assert built.recall >= 0.95
    index = backend.open(built.file, built.sha256, stored_tokens(reader, segments))
    assert index.recall == built.recall
    shares = []
    for vector in vectors:
        expected = {key for key, _ in brute_force(keys, tokens, vector, 100)}
        shares.append(len(expected & set(search(Part(index), [], vector, 100).keys.tolist())) / 100)
    assert np.mean(shares) == pytest.approx(built.recall, abs=0.02)


def test_a_server_that_is_away_is_said_in_a_sentence_without_its_key(tmp_path: Path) -> None:
    require_milvus()
    server = MilvusServer("http://127.0.0.1:1", "user:sesame", seconds=0.5)
    world = make_world(tmp_path, MilvusBackend(tmp_path / "generations", server, flat_tail))
    with pytest.raises(IndexUnavailableError, match=r"Milvus at 127\.0\.0\.1:1 .*MILVUS_URI") as said:
        world.build(2)
    assert "sesame" not in str(said.value)
    (begun,) = world.backend.files.stored()
    assert begun.startswith(ASIDE), "so that the sweep knows what may have been inserted"


KILLED = """
import sys
from pathlib import Path
from sightline.store.milvus import MilvusServer
from sightline.store.milvus.backend import MilvusBackend
from tests.store.test_store_milvus import flat_tail, make_world
folder = Path(sys.argv[1])
server = MilvusServer(str(folder / "rows.db"))
world = make_world(folder, MilvusBackend(folder / "generations", server, flat_tail, 16))
world.build(4, serving=world.build(2))
"""


def test_a_killed_build_is_not_seen_and_swept_with_its_rows(tmp_path: Path) -> None:
    """Killed when all rows are there and the manifest is not; the segments' files come by there before."""
    require_milvus()
    point = {faultpoint.VARIABLE: f"file.aside:{5 + 2}"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", KILLED, str(tmp_path)],
        env=os.environ | point | {"PYTHONPATH": str(ROOT)}, timeout=200, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    backend = MilvusBackend(tmp_path / "generations", MilvusServer(str(tmp_path / "rows.db")), flat_tail, 16)
    (serving,) = [name for name in backend.files.stored() if backend.files.is_finished(name)]
    left = backend.files.stored() - {serving}
    named = read_manifest(tmp_path / "generations" / serving).named
    rows = rows_of(backend, named.collection)
    assert rows.count("") == 160 * 4, "what was inserted is there"
    for name in left:
        backend.files.remove(name)
    assert rows.count("") == 80 * 4
    assert backend.files.stored() == {serving}
