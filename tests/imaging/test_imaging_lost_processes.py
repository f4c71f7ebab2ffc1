"""Decode processes that are lost before they have a picture: another one decodes it, and waiting ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest

from sightline.errors import ImageRejected, InputError, UnavailableError
from sightline.imaging import Decoded, IsolatedDecoder, decode
from tests.imaging.odd_files import encoded, quarters

PATIENCE = 60.0
"""Seconds; the machine may be busy."""
IDLE_SECONDS = 3.0
"""More than an idle process needs for an answer, also on a busy machine; less than a test may last."""


def small() -> bytes:
    return encoded(quarters(), "PNG")


@contextmanager
def each_new_process(decoder: IsolatedDecoder, act: Callable[[int], None], most: int) -> Iterator[list[int]]:
    """``act`` on up to ``most`` processes as soon as they are there, which is long before they greet."""
    met: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            for pid in decoder.pids():
                if pid not in met and len(met) < most:
                    met.append(pid)
                    with suppress(ProcessLookupError):
                        act(pid)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield met
    finally:
        over.set()
        thread.join(PATIENCE)


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_an_idle_process_that_does_not_answer_is_replaced_and_the_picture_decoded() -> None:
    with IsolatedDecoder(max_tries=1, idle_seconds=IDLE_SECONDS) as decoder:
        decoder.decode(small())
        (first,) = decoder.pids()
        os.kill(first, signal.SIGSTOP)
        found = decoder.decode(small())
        assert np.array_equal(found.rgb, decode(small()).rgb)
        assert first not in decoder.pids()
        assert not psutil.pid_exists(first)


@pytest.mark.parametrize("times", [1, 2])
def test_a_process_killed_while_it_starts_is_started_again(times: int) -> None:
    with IsolatedDecoder(max_tries=1) as decoder, each_new_process(decoder, killed, times) as met:
        results = list(decoder.decode_many([small(), small()]))
    assert len(met) == times
    assert [isinstance(result, Decoded) for result in results] == [True, True]


def test_processes_that_are_always_killed_while_they_start_are_no_reason_to_go_on_for_ever() -> None:
    with IsolatedDecoder() as decoder:
        with each_new_process(decoder, killed, 100) as met, pytest.raises(UnavailableError) as caught:
            decoder.decode(small())
        assert len(met) == 3
        assert "died of SIGKILL while it was starting" in str(caught.value)
        assert str(caught.value).endswith("short of memory or overloaded.")
        assert isinstance(decoder.decode(small()), Decoded), "the decoder works again"


def test_closing_while_a_process_starts_does_not_start_another() -> None:
    decoder = IsolatedDecoder()
    caught: list[str] = []

    def work() -> None:
        try:
            decoder.decode(small())
        except (UnavailableError, ImageRejected) as error:
            caught.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not decoder.pids() and time.monotonic() < end:
        time.sleep(0.001)
    decoder.close()
    thread.join(PATIENCE)
    assert decoder.pids() == []
    assert all("closed" in said for said in caught)


def test_no_time_to_answer_is_refused() -> None:
    with pytest.raises(InputError, match="time to answer"):
        IsolatedDecoder(idle_seconds=0)
