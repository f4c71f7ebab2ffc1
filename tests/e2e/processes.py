"""A data folder and real processes on it, as users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SETTINGS = {
    "SIGHTLINE_MODEL__NAME": "toy",
    "SIGHTLINE_INDEXER__BATCH_SIZE": "3",
    "SIGHTLINE_INDEXER__LEASE_SECONDS": "3",
    "SIGHTLINE_BUILDER__LEASE_SECONDS": "3",
    "SIGHTLINE_BUILDER__RESEND_SECONDS": "2",
    "SIGHTLINE_BUILDER__INTERVAL_SECONDS": "0.2",
    "SIGHTLINE_BUILDER__FOLD_MIN_IMAGES": "10",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Installation:
    """A data folder and the processes on it."""

    data: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sightline", *words, "--data", str(self.data)]

    def run(self, *words: str) -> Any:
        """A command to its end; its JSON."""
        done = subprocess.run(
            self.command(*words, "--json"),
            env=os.environ | SETTINGS,
            capture_output=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return json.loads(done.stdout)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.data / f"{words[0]}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(*words), env=os.environ | SETTINGS, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def said(self, role: str, words: str) -> bool:
        """Whether any process of this role has logged this."""
        return any(words in path.read_text() for path in self.data.glob(f"{role}-*.log"))


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "data").mkdir()
    installation = Installation(tmp_path / "data")
    yield installation
    for process in installation.processes:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=20)


def until(what: str, true: Callable[[], Any], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.5)


def draw(folder: Path, count: int) -> list[str]:
    """Distinct pictures, large enough that decoding them takes a moment; one of them is red."""
    folder.mkdir()
    random = np.random.default_rng(0)
    names = [f"{number:03d}.png" for number in range(count)]
    for number, name in enumerate(names):
        grey = np.repeat(random.integers(60, 200, (600, 600, 1), np.uint8), 3, axis=2)
        if number == count // 2:
            grey[:] = (255, 0, 0)
        Image.fromarray(grey).save(folder / name)
    return names
