"""A writer that is killed at any instant leaves whole files or none that a reader would look at."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sightline.store.durable import ASIDE
from sightline.store.flat import FlatBackend
from sightline.store.segments import SegmentReader
from sightline.store.tensorfile import open_tensors
from tests.children import kill, read_line
from tests.store.writer_process import arrays

ROOT = Path(__file__).parents[2]

KILLS = 20
Writer = subprocess.Popen[bytes]


def start_writer(kind: str, folder: Path) -> Writer:
    """A fresh interpreter for each kill: a fork of one that has loaded FAISS and NumPy may hang."""
    command = [sys.executable, "-m", "tests.store.writer_process", kind, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def kill_while_writing(writer: Writer, delay: float) -> list[tuple[str, ...]]:
    """(file, sha256) that a writer said were finished before it was killed ``delay`` after the first."""
    try:
        assert read_line(writer) == "ready"
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        first = read_line(writer)
        time.sleep(delay)
    finally:
        kill(writer)
    rest, _ = writer.communicate(timeout=20)
    return [tuple(line.split()) for line in (first, *rest.decode().splitlines())]


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
def test_twenty_kills_leave_only_whole_files(tmp_path: Path, kind: str) -> None:
    delays = np.random.default_rng(0).uniform(0, 0.06, KILLS)
    folders = [tmp_path / str(number) for number in range(KILLS)]
    unfinished = 0
    ahead = start_writer(kind, folders[0])
    try:
        for folder, following, delay in zip(folders, [*folders[1:], None], delays, strict=True):
            # The next interpreter starts meanwhile.
            writer, ahead = ahead, ahead if following is None else start_writer(kind, following)
            finished = kill_while_writing(writer, float(delay))
            if kind == "segment":
                check_segments(folder / "segments", finished)
            else:
                check_generations(folder / "generations", finished)
            unfinished += any(path.name.startswith(ASIDE) for path in (folder / f"{kind}s").iterdir())
    finally:
        kill(ahead)
        ahead.communicate(timeout=20)
    assert unfinished, "no kill came in the middle of a write, so nothing was shown"
