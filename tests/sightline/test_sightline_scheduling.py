"""Requests that share one model: same results as alone, fair turns, a bounded queue, deadlines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.latents import Latents
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.toy import ToyEncoder
from sightline.errors import AbandonedError, DeadlineError, InputError, OverloadedError, UnavailableError
from sightline.records import Precision
from sightline.serving.scheduler import Scheduler, client_gone
from sightline.settings import ServingSettings

TEXTS = ["a dog", "two red cars and a blue house on the beach with a tree", "bird", "the cat on the left"]


class GatedToy(ToyEncoder):
    """The toy, held back by a gate; remembers what it was asked and by which thread."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked: list[tuple[str, ...]] = []
        self.threads: set[int] = set()

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        self._wait(texts)
        if "bad" in texts:
            raise InputError("This text is bad.")
        return super().encode_text(texts)

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        self._wait(texts)
        return super().match(texts, patches, precision)

    def _wait(self, texts: Sequence[str]) -> None:
        self.asked.append(tuple(texts))
        self.threads.add(threading.get_ident())
        assert self.gate.wait(20)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(ServingSettings(max_waiting=16))
    yield scheduler
    scheduler.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Blip2:
    return load(str(write_random_checkpoint(tmp_path_factory.mktemp("small"))))


def until(condition: Callable[[], bool]) -> None:
    """Wait for other threads to get somewhere."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)


def encode(scheduler: Scheduler, model: ToyEncoder | Blip2, text: str) -> Tensor:
    with scheduler.admit() as admitted:
        return admitted.share(model).encode_text([text])


def match(
    scheduler: Scheduler, model: ToyEncoder, text: str, batches: int, deadline_ms: float | None = None
) -> None:
    """A request whose candidates fill that many batches."""
    with scheduler.admit() as admitted:
        shared = admitted.share(model, deadline_ms)
        for _ in range(batches):
            shared.match([text], torch.zeros(2, 5, 6))


def test_texts_that_wait_are_encoded_together_and_equal_the_single_ones(
    scheduler: Scheduler, pool: ThreadPoolExecutor, small: Blip2
) -> None:
    toy = GatedToy()
    held = pool.submit(match, scheduler, toy, "held", 1)
    until(lambda: bool(toy.asked))
    waiting = [pool.submit(encode, scheduler, small, text) for text in TEXTS]
    until(lambda: scheduler.figures().turns == len(TEXTS))
    toy.gate.set()
    for text, future in zip(TEXTS, waiting, strict=True):
        alone = small.encode_text([text])
        assert torch.allclose(future.result(20), alone, atol=2e-6, rtol=0)
    held.result(20)
    assert scheduler.figures().text_batches == 1


def test_one_bad_text_costs_its_neighbours_nothing(scheduler: Scheduler, pool: ThreadPoolExecutor) -> None:
    toy = GatedToy()
    held = pool.submit(match, scheduler, toy, "held", 1)
    until(lambda: bool(toy.asked))
    waiting = {text: pool.submit(encode, scheduler, toy, text) for text in ("red", "bad", "blue")}
    until(lambda: scheduler.figures().turns == 3)
    toy.gate.set()
    held.result(20)
    with pytest.raises(InputError, match="bad"):
        waiting.pop("bad").result(20)
    for text, future in waiting.items():
        assert torch.equal(future.result(20), ToyEncoder().encode_text([text]))


def test_everything_is_computed_by_one_thread_that_is_no_request(
    scheduler: Scheduler, pool: ThreadPoolExecutor
) -> None:
    toy = GatedToy()
    toy.gate.set()
    futures = [pool.submit(match, scheduler, toy, f"red {n}", 3) for n in range(8)]
    futures += [pool.submit(encode, scheduler, toy, "blue") for _ in range(8)]
    for future in futures:
        future.result(20)
    assert len(toy.threads) == 1
    assert threading.get_ident() not in toy.threads


def test_a_text_waits_for_one_batch_of_a_long_rerank_not_for_all_of_it(
    scheduler: Scheduler, pool: ThreadPoolExecutor
) -> None:
    toy = GatedToy()
    long = pool.submit(match, scheduler, toy, "long", 50)
    until(lambda: bool(toy.asked))
    short = pool.submit(encode, scheduler, toy, "short")
    until(lambda: scheduler.figures().turns == 1)
    toy.gate.set()
    short.result(20)
    long.result(20)
    assert toy.asked.index(("short",)) == 1


def test_a_small_request_overtakes_a_long_one(scheduler: Scheduler, pool: ThreadPoolExecutor) -> None:
    toy = GatedToy()
    long = pool.submit(match, scheduler, toy, "long", 50)
    until(lambda: bool(toy.asked))
    short = pool.submit(match, scheduler, toy, "short", 1)
    until(lambda: scheduler.figures().turns == 1)
    toy.gate.set()
    short.result(20)
    long.result(20)
    assert toy.asked.index(("short",)) == 1
    assert len(toy.asked) == 51


def test_one_request_too_many_is_refused_at_once_and_the_others_are_served(pool: ThreadPoolExecutor) -> None:
    scheduler, toy = Scheduler(ServingSettings(max_waiting=3)), GatedToy()
    waiting = [pool.submit(match, scheduler, toy, "red", 2) for _ in range(3)]
    until(lambda: scheduler.figures().requests == 3)
    with pytest.raises(OverloadedError, match="3 requests wait"):
        match(scheduler, toy, "red", 1)
    toy.gate.set()
    for future in waiting:
        future.result(20)
    match(scheduler, toy, "red", 1)
    figures = scheduler.figures()
    assert (figures.requests, figures.turns, figures.refused, sum(figures.waits)) == (0, 0, 1, 4)
    scheduler.close()


def test_a_request_that_fails_gives_its_place_back() -> None:
    scheduler = Scheduler(ServingSettings(max_waiting=1))
    toy = GatedToy()
    toy.gate.set()
    for _ in range(3):
        with pytest.raises(InputError, match="bad"):
            encode(scheduler, toy, "bad")
    scheduler.close()


def test_a_deadline_counts_the_time_in_the_queue(pool: ThreadPoolExecutor) -> None:
    now = [100.0]
    scheduler, toy = Scheduler(ServingSettings(), clock=lambda: now[0]), GatedToy()
    held = pool.submit(match, scheduler, toy, "held", 1)
    until(lambda: bool(toy.asked))
    patient = pool.submit(match, scheduler, toy, "patient", 1, 2000.0)
    hasty = pool.submit(match, scheduler, toy, "hasty", 1, 1000.0)
    until(lambda: scheduler.figures().turns == 2)
    now[0] += 1.5
    toy.gate.set()
    patient.result(20)
    held.result(20)
    with pytest.raises(DeadlineError):
        hasty.result(20)
    assert ("hasty",) not in toy.asked
    assert scheduler.figures().waited_seconds == pytest.approx(3.0)
    scheduler.close()


def test_nothing_is_computed_for_a_client_that_hung_up(
    scheduler: Scheduler, pool: ThreadPoolExecutor
) -> None:
    toy, gone = GatedToy(), threading.Event()

    def by_a_client(work: Callable[..., object], *arguments: object) -> object:
        client_gone.set(gone)
        return work(scheduler, toy, *arguments)

    held = pool.submit(match, scheduler, toy, "held", 1)
    until(lambda: bool(toy.asked))
    lost = [
        pool.submit(copy_context().run, by_a_client, match, "lost", 1),
        pool.submit(copy_context().run, by_a_client, encode, "lost"),
    ]
    kept = pool.submit(encode, scheduler, toy, "kept")
    until(lambda: scheduler.figures().turns == 3)
    gone.set()
    toy.gate.set()
    for future in lost:
        with pytest.raises(AbandonedError):
            future.result(20)
    held.result(20)
    kept.result(20)
    assert toy.asked == [("held",), ("kept",)]


def test_whoever_still_waits_is_told_when_the_process_stops(pool: ThreadPoolExecutor) -> None:
    scheduler, toy = Scheduler(ServingSettings()), GatedToy()
    running = pool.submit(match, scheduler, toy, "running", 1)
    until(lambda: bool(toy.asked))
    waiting: list[Future[object]] = [
        pool.submit(match, scheduler, toy, "waiting", 1),
        pool.submit(encode, scheduler, toy, "waiting"),
    ]
    until(lambda: scheduler.figures().turns == 2)
    closing = pool.submit(scheduler.close)
    for future in waiting:
        with pytest.raises(UnavailableError, match="stopped"):
            future.result(20)
    toy.gate.set()
    running.result(20)
    closing.result(20)
    with pytest.raises(UnavailableError, match="stopped"):
        encode(scheduler, toy, "late")


def test_the_vit_is_not_loaded_by_texts_and_cached_patches(scheduler: Scheduler, tmp_path: Path) -> None:
    model = load(str(write_random_checkpoint(tmp_path / "model")))
    with scheduler.admit() as admitted:
        shared = admitted.share(model)
        shared.encode_text(["a dog"])
        shared.match(["a dog"], torch.zeros(3, *model.patch_shape))
        assert not model.vision.loaded
        shared.encode_patches(torch.zeros(1, 3, 32, 32))
        assert model.vision.loaded
