"""Writes that fail: nothing that was acknowledged is lost, it is said, and it goes on once there is room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.shim import Shim, library

ROOT = Path(__file__).parents[2]


def lives(tmp_path: Path, *words: str, seconds: float = 250.0) -> list[dict[str, Any]]:
    if library() is None:
        pytest.skip("no C compiler makes the shim here")
    shim = Shim(tmp_path / "shim")
    command = [sys.executable, "-m", "tests.crash.failing_disk", str(tmp_path), *words]
    environment = os.environ | shim.environment | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_all_well(found: list[dict[str, Any]]) -> None:
    assert sum(one["failed"] > 0 for one in found) >= len(found) // 2
    assert [one for one in found if one["problems"]] == []
    # What failed without a word has left nothing undone.
    assert [one for one in found if one["undone"]] == []


def test_a_sample_of_writes_fails_and_nothing_is_lost(tmp_path: Path) -> None:
    assert_all_well(lives(tmp_path, "190", "EIO", "ENOSPC+"))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", ["EIO", "ENOSPC+"])
def test_every_single_write_fails_and_nothing_is_lost(tmp_path: Path, fault: str) -> None:
    assert_all_well(lives(tmp_path, "1", fault, seconds=3500))
