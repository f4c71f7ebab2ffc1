"""Digests of model files are remembered, and never believed of a file that may have changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from sightline.blip.random_weights import write_random_checkpoint
from sightline.serving.digests import SMALL_BYTES, RememberedDigests
from sightline.serving.models import ModelProvider

LATER = 3600.0


def later() -> float:
    """A clock by which everything on disk has settled."""
    return time.time() + LATER


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"a" * SMALL_BYTES)
    return path


def truth(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forge(memory: Path, old: str, new: str) -> None:
    """Put another digest in the memory, to see whether it is believed."""
    memory.write_text(memory.read_text().replace(old, new))


def test_a_file_that_stays_is_read_once(file: Path, tmp_path: Path) -> None:
    memory = tmp_path / "cache" / "digests.json"
    assert RememberedDigests(memory, later).of(file) == truth(file)
    forge(memory, truth(file), "believed")
    assert RememberedDigests(memory, later).of(file) == "believed"


def test_changed_bytes_of_the_same_size_and_time_are_noticed(file: Path, tmp_path: Path) -> None:
    digests = RememberedDigests(tmp_path / "digests.json", later)
    first = digests.of(file)
    times = file.stat()
    file.write_bytes(b"b" * SMALL_BYTES)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digests.of(file) == truth(file) != first


def test_another_file_under_the_same_name_is_noticed(file: Path, tmp_path: Path) -> None:
    digests = RememberedDigests(tmp_path / "digests.json", later)
    first = digests.of(file)
    other = tmp_path / "other"
    other.write_bytes(b"c" * SMALL_BYTES)
    other.replace(file)
    assert digests.of(file) == truth(file) != first


def test_a_file_that_has_just_been_written_is_not_remembered(file: Path, tmp_path: Path) -> None:
    memory = tmp_path / "digests.json"
    assert RememberedDigests(memory).of(file) == truth(file)
    assert not memory.exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_memory_costs_nothing_but_time(file: Path, tmp_path: Path, content: str) -> None:
    memory = tmp_path / "digests.json"
    memory.write_text(content)
    assert RememberedDigests(memory, later).of(file) == truth(file)


def test_a_memory_that_cannot_be_written_is_done_without(file: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    assert RememberedDigests(tmp_path / "blocked" / "digests.json", later).of(file) == truth(file)


def test_a_model_has_the_same_fingerprint_with_and_without_memory(tmp_path: Path) -> None:
    folder = str(write_random_checkpoint(tmp_path / "model"))
    without = ModelProvider().identify(folder).fingerprint
    for _ in range(2):
        models = ModelProvider(memory=tmp_path / "digests.json")
        assert models.identify(folder).fingerprint == models.load(folder).fingerprint == without
