"""Pictures that come with a rerank: after admission, in fair turns, within the request's means."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace

import numpy as np
import pytest

from sightline.api.documents import DocumentDecoding, Line
from sightline.api.problems import Problem
from sightline.api.settings import ApiSettings
from sightline.errors import AbandonedError, DeadlineError, ImageRejected
from sightline.imaging import Decoded
from sightline.imaging.limits import Allowance
from sightline.serving.scheduler import client_gone

PATIENCE = 20.0
SETTINGS = ApiSettings()


def given(data: bytes) -> Callable[[], bytes]:
    """A document with these bytes."""
    return lambda: data


class Gates:
    """A decoder whose pictures take as long as the test wants: ``slow`` ones until they are let through."""

    def __init__(self, cpu_seconds: float = 0.0, side: int = 4) -> None:
        self.begun: list[bytes] = []
        self.allowed: list[Allowance] = []
        self.changed = threading.Condition()
        self.open = {b"slow 1": threading.Semaphore(0), b"slow 2": threading.Semaphore(0)}
        self._cpu_seconds = cpu_seconds
        self._side = side

    def decode(self, data: bytes, allowance: Allowance) -> Decoded:
        with self.changed:
            self.begun.append(data)
            self.allowed.append(allowance)
            self.changed.notify_all()
        if data in self.open and not self.open[data].acquire(timeout=PATIENCE):
            raise ImageRejected("timeout", "The test has hung.")
        rgb = np.zeros((self._side, self._side, 3), np.uint8)
        return Decoded(rgb, self._side, self._side, "PNG", b"", self._cpu_seconds)

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) >= count, PATIENCE)


def test_two_requests_full_of_slow_pictures_do_not_hold_up_a_third() -> None:
    gates = Gates()
    shared = DocumentDecoding(gates, replace(SETTINGS, decoders=2))

    def request(data: bytes, count: int) -> None:
        pictures = shared.of_request()
        for index in range(count):
            pictures.rgb(index, f"/documents/{index}", given(data))

    with ThreadPoolExecutor(3) as pool:
        hostile = [pool.submit(request, data, 5) for data in gates.open]
        gates.wait_for(2)
        normal = pool.submit(request, b"normal", 1)
        while shared.line.length < 1:
            assert not normal.done()
        gates.open[b"slow 1"].release()  # one picture of one of them ends
        normal.result(PATIENCE)
        assert not any(one.done() for one in hostile)
        assert gates.begun[2] == b"normal"
        for gate in gates.open.values():
            gate.release(5)
        for one in hostile:
            one.result(PATIENCE)


def test_turns_come_in_the_order_of_asking() -> None:
    line, order = Line(1), list[int]()

    def one(number: int) -> None:
        with line.turn(PATIENCE):
            order.append(number)

    with ThreadPoolExecutor(6) as pool, line.turn(PATIENCE):
        for number in range(6):
            pool.submit(one, number)
            while line.length <= number:
                pass
    assert order == list(range(6))


def test_a_turn_that_does_not_come_is_a_deadline_and_costs_nobody_a_turn() -> None:
    line = Line(1)
    with line.turn(1), pytest.raises(DeadlineError, match="try again soon"), line.turn(0.01):
        pass
    assert line.length == 0
    with line.turn(1):
        pass


def test_all_pictures_of_a_request_share_its_processor_time_and_its_pixels() -> None:
    gates = Gates(cpu_seconds=2.0, side=100)
    settings = replace(SETTINGS, document_seconds=5.0, max_document_pixels=60_000)
    pictures = DocumentDecoding(gates, settings).of_request()
    pictures.rgb(0, "/documents/0", given(b"a"))
    pictures.rgb(1, "/documents/1", given(b"b"))
    with pytest.raises(Problem, match=r"5 seconds of .*SIGHTLINE_API__DOCUMENT_SECONDS") as caught:
        pictures.rgb(2, "/documents/2", given(b"c"))
    assert caught.value.status == 422
    assert [(one.pixels, one.seconds) for one in gates.allowed] == [(60_000, 5), (50_000, 3), (40_000, 1)]


def test_patience_is_spent_by_waiting_and_decoding_alone() -> None:
    moments: Iterator[float] = iter([0.0, 20.0, 1000.0, 1011.0, 2000.0, 2000.0])
    shared = DocumentDecoding(Gates(), replace(SETTINGS, decoders=1), clock=lambda: next(moments))
    pictures = shared.of_request()
    pictures.rgb(0, "/documents/0", given(b"a"))  # 20 of 30 seconds
    pictures.rgb(1, "/documents/1", given(b"b"))  # the rest
    with pytest.raises(DeadlineError):
        pictures.rgb(2, "/documents/2", given(b"c"))


def test_nothing_is_decoded_for_a_client_that_has_hung_up() -> None:
    gates, gone = Gates(), threading.Event()
    gone.set()

    def work() -> None:
        client_gone.set(gone)
        with pytest.raises(AbandonedError):
            DocumentDecoding(gates, SETTINGS).of_request().rgb(0, "/documents/0", given(b"a"))

    copy_context().run(work)
    assert gates.begun == []
