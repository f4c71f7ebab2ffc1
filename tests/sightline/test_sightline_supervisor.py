"""Supervised processes: stopped together, restarted when they die, gone when the supervisor is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sightline.errors import UnavailableError
from sightline.processes.supervisor import Supervisor
from sightline.settings import Settings, environment
from tests.children import kill, read_line

ROOT = Path(__file__).parents[2]
# Starts a builder under a supervisor, says its process id, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from sightline.settings import load_settings
from sightline.processes.supervisor import Supervisor
with Supervisor(load_settings(), logs=Path(sys.argv[1])) as supervisor:
    print(supervisor.start("builder", "builder").process.pid, flush=True)
    time.sleep(120)
"""


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.05)


def said(log: Path, words: str) -> Callable[[], bool]:
    return lambda: log.exists() and words in log.read_text()


def test_leaving_stops_every_process(settings: Settings, tmp_path: Path) -> None:
    with Supervisor(settings, logs=tmp_path) as supervisor:
        processes = [psutil.Process(supervisor.start(name, "builder").process.pid) for name in ("one", "two")]
        assert all(process.is_running() for process in processes)
    assert not any(process.is_running() for process in processes)


def test_a_process_that_dies_is_started_again(settings: Settings, tmp_path: Path) -> None:
    restarts: list[tuple[str, int]] = []
    with Supervisor(settings, logs=tmp_path, on_restart=lambda *what: restarts.append(what)) as supervisor:
        child = supervisor.start("builder", "builder")
        first = child.process
        first.kill()
        first.wait(timeout=20)
        supervisor.check()
        assert child.process.pid != first.pid
        assert child.process.poll() is None
    assert restarts == [("builder", -signal.SIGKILL)]


def test_a_process_that_keeps_dying_is_given_up_with_its_last_words(
    settings: Settings, tmp_path: Path
) -> None:
    hasty = settings.model_copy(update={"up": replace(settings.up, restart_limit=2)})
    with Supervisor(hasty, logs=tmp_path) as supervisor:
        child = supervisor.start("wrong", "no-such-command")
        with pytest.raises(UnavailableError, match="no-such-command"):
            until(lambda: bool(supervisor.check()))
        assert child.quick_deaths == 2


def test_a_supervisor_that_is_killed_leaves_nothing_behind(settings: Settings, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | environment(settings),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        child = psutil.Process(int(read_line(parent)))
    finally:
        kill(parent)
        parent.communicate(timeout=20)
    until(lambda: not child.is_running())
