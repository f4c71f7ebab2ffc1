"""A writer that is killed at any instant leaves whole files or none that a reader would look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightline.store.durable import ASIDE
from sightline.store.flat import FlatBackend
from sightline.store.segments import SegmentReader
from sightline.store.tensorfile import open_tensors
from tests.store.writer_process import arrays

KILLS = 20


@pytest.fixture(scope="module")
def writers() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.store.writer_process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server
        assert server.stdin is not None
        server.stdin.close()


def kill_while_writing(
    writers: subprocess.Popen[str], kind: str, folder: Path, delay: float
) -> list[tuple[str, ...]]:
    """(file, sha256) that a writer said were finished before it was killed ``delay`` after the first."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{kind} {folder}\n")
    writers.stdin.flush()
    process, lines = None, []
    # The process id and the first file come in any order.
    for line in iter(writers.stdout.readline, "end\n"):
        if line.strip().isdigit():
            process = int(line)
        else:
            lines.append(line)
        if process is not None and lines:
            time.sleep(delay)
            os.kill(process, signal.SIGKILL)
            process = None
    # The kill may have cut the last line short.
    return [tuple(line.split()) for line in lines if len(line.split()) == 2 and len(line.split()[1]) == 64]


def check_segments(folder: Path, finished: list[tuple[str, ...]]) -> None:
    reader = SegmentReader(folder)
    for file, sha256 in finished:
        reader.verify(file, sha256)
    for path in folder.iterdir():
        if not path.name.startswith(ASIDE):
            read = reader.read(path.name)
            for expected, found in zip(arrays(), read, strict=False):
                assert np.array_equal(expected, found), path.name


def check_generations(folder: Path, finished: list[tuple[str, ...]]) -> None:
    for file, sha256 in finished:
        assert len(FlatBackend(folder).open(file, sha256).keys) == 500
    for path in folder.iterdir():
        if not path.name.startswith(ASIDE):
            assert np.array_equal(open_tensors(path).arrays["tokens"], arrays()[1]), path.name


@pytest.mark.parametrize("kind", ["segment", "generation"])
def test_twenty_kills_leave_only_whole_files(
    tmp_path: Path, kind: str, writers: subprocess.Popen[str]
) -> None:
    delays = np.random.default_rng(0).uniform(0, 0.06, KILLS)
    unfinished = 0
    for kill, delay in enumerate(delays):
        folder = tmp_path / str(kill)
        finished = kill_while_writing(writers, kind, folder, float(delay))
        assert finished
        if kind == "segment":
            check_segments(folder / "segments", finished)
        else:
            check_generations(folder / "generations", finished)
        unfinished += any(path.name.startswith(ASIDE) for path in (folder / f"{kind}s").iterdir())
    assert unfinished, "no kill came in the middle of a write, so nothing was shown"
