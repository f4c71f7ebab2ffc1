"""Workers take int8 where real pictures allowed it, share a machine's cores, and tell what they wait for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sightline.blip.measured import Measured
from sightline.blip.model_batch import Pace
from sightline.blip.toy import ToyEncoder
from sightline.blip.vision_check import PICTURES, VisionVerdict
from sightline.indexer.embedding.clock import EmbedClock, sentence
from sightline.indexer.embedding.int8_trial import Int8Trial
from sightline.indexer.embedding.pacing import Pacing, share
from sightline.indexer.embedding.picture_encoder import PictureEncoder
from sightline.indexer.indexer import Indexer
from sightline.store.machine_files import MachineFiles
from sightline.store.worker_notes import WorkerNote, worker_counts
from tests.children import read_line
from tests.indexer.test_indexer_overlap import stored
from tests.indexer.world import COLLECTION, CountingToy, Knobs, ToyModels, World

GOOD = VisionVerdict(PICTURES, 0.999, 0.99, 0.99)


class TwofoldToy(CountingToy):
    """The toy with an int8 that moves its patches by so much."""

    may_try_int8, vision_dtype = True, torch.float32

    def __init__(self, moves: float = 0.0) -> None:
        super().__init__()
        self.moves = moves
        self.tried = self.left = 0
        self.timed: list[tuple[int, int]] = []

    def encode_patches_int8(self, pixels: Any) -> Tensor:
        self.tried += len(pixels)
        patches = ToyEncoder().encode_patches(pixels)
        return patches if not self.moves else patches.flip(0).roll(1, dims=1) * self.moves

    def take_int8(self) -> None:
        self.may_try_int8, self.vision_dtype = False, torch.int8

    def leave_int8(self) -> None:
        self.left += 1

    def layer_seconds(self, batch: int, layers: int) -> float:
        self.timed.append((batch, torch.get_num_threads()))
        return {1: 1.0, 2: 1.2, 4: 2.0, 8: 5.0, 16: 11.0}[batch] / torch.get_num_threads()


def measured(folder: Path) -> Measured:
    return Measured(MachineFiles(folder / "precision"))


def indexed(folder: Path, toy: TwofoldToy, least: int, known: VisionVerdict | None = None) -> World:
    world = World(folder, Knobs(indexer={"measure_images": least}))
    world.models = ToyModels(toy)
    if known is not None:
        measured(folder).keep_verdict(toy.fingerprint, known)
    parts = replace(world.parts, measured=measured(folder))
    world.create()
    world.draw(12)
    Indexer(parts).index([str(world.pictures)], COLLECTION)
    Indexer(parts).run_pending()
    return world


def test_int8_that_goes_astray_is_refused_and_published_tokens_are_the_other_ones(tmp_path: Path) -> None:
    toy, plain = TwofoldToy(moves=3.0), TwofoldToy()
    world = indexed(tmp_path / "tried", toy, least=10)
    verdict = measured(tmp_path / "tried").verdict(toy.fingerprint)
    assert verdict is not None
    assert not verdict.holds
    assert 0 < toy.tried <= 12
    assert toy.vision_dtype == torch.float32
    assert toy.left
    other = indexed(tmp_path / "plain", plain, least=0)
    assert plain.tried == 0
    assert stored(world) == stored(other)
    world.close()
    other.close()


def test_a_small_job_is_not_worth_a_comparison_and_a_good_verdict_is_taken_up(tmp_path: Path) -> None:
    small, ready = TwofoldToy(), TwofoldToy()
    indexed(tmp_path / "small", small, least=13).close()
    assert (small.tried, small.timed) == (0, [])
    indexed(tmp_path / "ready", ready, least=13, known=GOOD).close()
    assert ready.vision_dtype == torch.int8
    assert ready.tried == 0


def test_int8_is_taken_once_two_hundred_pictures_kept_tokens_and_orders(tmp_path: Path) -> None:
    toy = TwofoldToy()
    trial = Int8Trial(measured(tmp_path))
    assert trial.is_open(toy)
    trial.begin(toy)
    made = torch.Generator().manual_seed(0)
    pixels = torch.rand(PICTURES, *ToyEncoder().preprocess([]).shape[1:], generator=made)
    for part in pixels.split(40):
        assert toy.vision_dtype == torch.float32
        trial.look(toy, part, toy.encode_image(ToyEncoder().encode_patches(part)))
    assert toy.vision_dtype == torch.int8
    verdict = measured(tmp_path).verdict(toy.fingerprint)
    assert verdict is not None
    assert verdict.holds


def test_what_cannot_be_read_counts_as_not_measured(tmp_path: Path) -> None:
    known = measured(tmp_path)
    known.keep_verdict("a", GOOD)
    known.keep_pace("a", "int8", 2, Pace(4, 2))
    assert known.verdict("a") == GOOD
    assert known.pace("a", "int8", 2) == Pace(4, 2)
    assert (known.verdict("b"), known.pace("a", "int8", 4), known.pace("a", "float32", 2)) == (None,) * 3
    for bad in (b"", b"[1]", b'{"pictures": 200', b"\xff", b'{"pictures": true, "batch": 99}', b"[" * 10_000):
        for path in (tmp_path / "precision").iterdir():
            path.write_bytes(bad)
        assert (known.verdict("a"), known.pace("a", "int8", 2)) == (None, None)


def test_the_pace_is_measured_once_by_a_worker_that_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    toy, workers = TwofoldToy(), [2]

    def pacing() -> Pacing:
        parts = World(tmp_path, Knobs()).parts
        return Pacing(measured(tmp_path), PictureEncoder(parts).batch, lambda: workers[0])

    try:
        torch.set_num_threads(4)
        one = pacing()
        one.begin(toy, lambda: True)
        assert toy.timed == []  # another worker computes, and would be measured too
        assert torch.get_num_threads() == 2
        workers[0] = 1
        one.begin(toy, lambda: True)
        assert torch.get_num_threads() == 4
        once = list(toy.timed)
        assert {batch for batch, _ in once} == {1, 2, 4, 8, 16}
        pacing().begin(toy, lambda: True)
        assert toy.timed == once
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        workers[0] = 4
        one.begin(toy, lambda: True)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("threads", "workers", "each"), [(8, 1, 8), (8, 3, 2), (2, 5, 1), (1, 1, 1)])
def test_cores_are_shared_and_nobody_has_none(threads: int, workers: int, each: int) -> None:
    assert share(threads, workers) == each


LIVE = """
import sys, pathlib
from sightline.store.worker_notes import WorkerNote
with WorkerNote(pathlib.Path(sys.argv[1])) as note:
    note.write({"embed_wait_seconds": 1.5})
    print("here", flush=True)
    sys.stdin.read()
"""


def test_workers_on_a_machine_count_one_another_and_killed_ones_no_more(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIVE, str(tmp_path)]
    with WorkerNote(tmp_path) as note, WorkerNote(tmp_path) as second:
        assert note.workers_here() == 2
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert read_line(process) == "here"
        assert note.workers_here() == second.workers_here() == 3
        assert {"embed_wait_seconds": 1.5} in worker_counts(tmp_path).values()
        process.kill()
        process.communicate(timeout=60)
        assert note.workers_here() == 2
        note.write({"embed_wait_seconds": 10.25, "embed_busy_seconds": 3.0})
        note.write({"embed_wait_seconds": 2.5})
        assert worker_counts(tmp_path) == {note.name: {"embed_wait_seconds": 2.5}}
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_waits_for_pictures_is_told_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    said = sentence(60.0, 40.0, 1)
    assert said is not None
    assert "the model waited 60% of the time" in said
    assert "SIGHTLINE_DECODING__PROCESSES more than 1" in said
    assert sentence(10.0, 90.0, 1) is None
    assert sentence(0.0, 0.0, 1) is None
    clock = EmbedClock()
    clock.waited, clock.busy = 20.0, 10.0
    clock.tell(2)
    assert caplog.messages == []
    clock.waited = 60.0
    clock.tell(2)
    clock.tell(2)
    assert len(caplog.messages) == 1
