"""Decoding in processes of its own: same pixels, and nothing that a picture does reaches the caller."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from sightline.errors import ImageRejected, UnavailableError
from sightline.imaging import Decoded, IsolatedDecoder, Limits, decode
from sightline.imaging.wire import receive, send
from tests.children import kill, read_line
from tests.imaging.odd_files import encoded, make_odd_files, noise, quarters

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds; the machine may be busy."""


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder() as shared:
        yield shared


def small() -> bytes:
    return encoded(quarters(), "PNG")


@cache
def slow() -> bytes:
    """A good part of a second of honest work: 24 megapixels."""
    return encoded(Image.new("RGB", (6000, 4000)), "PNG", compress_level=1)


def outcome(decoder: IsolatedDecoder, data: bytes) -> str:
    try:
        decoder.decode(data)
    except ImageRejected as rejected:
        return rejected.reason
    return "ok"


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def test_nothing_starts_before_the_first_picture() -> None:
    with IsolatedDecoder(processes=4) as decoder:
        assert decoder.pids() == []
        assert outcome(decoder, b"") == "empty"
        assert decoder.pids() == []
        decoder.decode(small())
        assert len(decoder.pids()) == 1


def test_same_result_as_in_this_process(decoder: IsolatedDecoder) -> None:
    for image in (quarters(), noise(701, 503)):
        for name in ("PNG", "JPEG", "WEBP"):
            data = encoded(image, name)
            here, there = decode(data), decoder.decode(data)
            assert np.array_equal(here.rgb, there.rgb)
            assert (here.width, here.height, here.format) == (there.width, there.height, there.format)
            assert here.thumbnail == there.thumbnail


def test_pixels_belong_to_the_caller(decoder: IsolatedDecoder) -> None:
    first = decoder.decode(small())
    first.rgb[:] = 0
    assert decoder.decode(small()).rgb.any()
    assert not first.rgb.any()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_odd_files_get_their_reasons_and_kill_nobody(decoder: IsolatedDecoder, tmp_path: Path) -> None:
    expected = make_odd_files(tmp_path)
    decoder.decode(small())
    before = decoder.pids()
    found = {name: outcome(decoder, (tmp_path / name).read_bytes()) for name in expected}
    assert found == expected
    assert decoder.pids() == before


def test_a_picture_that_outlasts_its_seconds_is_rejected_after_one_try_and_its_process_replaced() -> None:
    with IsolatedDecoder(Limits(seconds=0.001), max_tries=3) as decoder:
        with pytest.raises(ImageRejected, match="SIGHTLINE_IMAGING__SECONDS") as caught:
            decoder.decode(slow())
        assert "tried" not in caught.value.detail
        assert caught.value.reason == "timeout"
        assert decoder.pids() == []


def test_a_picture_that_needs_too_much_memory_is_rejected_and_its_neighbours_are_not() -> None:
    with IsolatedDecoder(Limits(memory_bytes=64 << 20)) as decoder:
        results = list(decoder.decode_many([small(), slow(), small()]))
    assert [isinstance(result, Decoded) for result in results] == [True, False, True]
    assert isinstance(results[1], ImageRejected)
    assert results[1].reason == "too_many_pixels"
    assert "6000 × 4000, 24.0 megapixels; as PNG that takes 96 MB" in results[1].detail


def test_a_process_killed_once_costs_nothing_but_time(decoder: IsolatedDecoder) -> None:
    decoder.decode(small())
    (pid,) = decoder.pids()
    results: list[Decoded] = []
    thread = threading.Thread(target=lambda: results.append(decoder.decode(slow())))
    thread.start()
    os.kill(pid, signal.SIGKILL)
    thread.join(PATIENCE)
    assert results[0].rgb.shape == (4000, 6000, 3)
    assert pid not in decoder.pids()


def test_a_picture_whose_process_always_dies_is_rejected_as_crashed() -> None:
    with IsolatedDecoder(max_tries=2) as decoder:
        decoder.decode(small())
        caught: list[str] = []
        thread = threading.Thread(target=lambda: caught.append(outcome(decoder, slow())))
        killed: set[int] = set()
        (first,) = decoder.pids()
        busy_before = psutil.Process(first).cpu_times().user
        thread.start()
        while thread.is_alive() and len(killed) < 2:
            for pid in set(decoder.pids()) - killed:
                if decoding(pid, busy_before if pid == first else 0.0):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.002)
        thread.join(PATIENCE)
        assert caught == ["crashed"]
        assert outcome(decoder, small()) == "ok"


def decoding(pid: int, busy_before: float) -> bool:
    """Whether the child has the large picture in memory: its mapping is far beyond that of an idle one."""
    try:
        process = psutil.Process(pid)
        return bool(process.cpu_times().user >= busy_before and process.memory_info().rss > 100 << 20)
    except psutil.NoSuchProcess:
        return False


def test_a_process_killed_while_idle_is_nobodys_fault() -> None:
    with IsolatedDecoder(max_tries=1) as decoder:
        decoder.decode(small())
        (pid,) = decoder.pids()
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not alive(pid))
        assert outcome(decoder, small()) == "ok"


def test_many_threads_share_a_pool_and_get_their_own_pictures() -> None:
    colours = [(n * 7 % 256, n * 31 % 256, n * 3 % 256) for n in range(24)]
    data = [encoded(Image.new("RGB", (40, 30), colour), "PNG") for colour in colours]
    with IsolatedDecoder(processes=2) as decoder:
        results = list(decoder.decode_many(data))
        assert len(decoder.pids()) <= 2
    for colour, result in zip(colours, results, strict=True):
        assert isinstance(result, Decoded)
        assert (result.rgb == colour).all()


def test_polite_signals_do_not_end_a_decode_process(decoder: IsolatedDecoder) -> None:
    decoder.decode(small())
    (pid,) = decoder.pids()
    for polite in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, polite)
    decoder.decode(small())
    assert decoder.pids() == [pid]


def test_after_close_no_process_is_left_and_decoding_says_so() -> None:
    decoder = IsolatedDecoder()
    decoder.decode(small())
    (pid,) = decoder.pids()
    decoder.close()
    assert not alive(pid)
    with pytest.raises(UnavailableError, match="closed"):
        decoder.decode(small())
    decoder.close()


def test_close_ends_a_decode_that_is_under_way() -> None:
    decoder = IsolatedDecoder()
    decoder.decode(small())
    (pid,) = decoder.pids()
    caught: list[type[BaseException]] = []

    def work() -> None:
        try:
            decoder.decode(slow())
        except (UnavailableError, ImageRejected) as error:
            caught.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert eventually(lambda: decoding(pid, 0.0) or not thread.is_alive())
    decoder.close()
    thread.join(PATIENCE)
    assert caught == [UnavailableError]
    assert not alive(pid)


SCRIPT = """
import sys, time
from sightline.imaging import IsolatedDecoder
decoder = IsolatedDecoder(processes=2)
data = open(sys.argv[1], "rb").read()
decoder.decode(data)
print(decoder.pids()[0], flush=True)
{then}
"""


def start_script(tmp_path: Path, then: str) -> tuple[subprocess.Popen[str], int]:
    """A plain script without a main guard, far from the repository; and its decode process."""
    (tmp_path / "picture.png").write_bytes(small())
    (tmp_path / "numpy.py").write_text("raise SystemExit('the current folder was imported from')")
    script = tmp_path / "folder" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(then=then))
    process = subprocess.Popen(
        [sys.executable, str(script), "picture.png"],
        cwd=tmp_path,
        # Without threads of NumPy, so that the script may fork.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, int(read_line(process, PATIENCE))


def ended(process: subprocess.Popen[str]) -> int:
    try:
        return process.wait(PATIENCE)
    finally:
        kill(process)
        process.communicate(timeout=20)


def test_works_from_a_plain_script_and_leaves_no_process_behind(tmp_path: Path) -> None:
    process, child = start_script(tmp_path, "")
    assert ended(process) == 0
    assert eventually(lambda: not alive(child))


def test_decode_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    process, child = start_script(tmp_path, "time.sleep(600)")
    kill(process)
    process.communicate(timeout=20)
    assert eventually(lambda: not alive(child))


def test_a_forked_copy_does_not_disturb_the_original(tmp_path: Path) -> None:
    fork = "import os\npid = os.fork()\ndecoder.decode(data)\nif pid: assert os.waitpid(pid, 0)[1] == 0"
    process, child = start_script(tmp_path, fork)
    assert ended(process) == 0
    assert eventually(lambda: not alive(child))


def test_messages_that_wait_together_are_received_one_by_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(theirs, {"begun": True})
        send(theirs, {"answer": "x" * 100_000})
        send(theirs, {"last": 1})
        assert receive(ours) == ({"begun": True}, None)
        assert receive(ours) == ({"answer": "x" * 100_000}, None)
        assert receive(ours) == ({"last": 1}, None)
