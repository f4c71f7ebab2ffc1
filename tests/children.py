"""Reading from child processes without waiting for ever."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import Any


def read_line(process: subprocess.Popen[Any], seconds: float = 60.0) -> str:
    """The next whole line that a child writes, without its end.

    AssertionError when none comes in time, or when the child ends before. Nobody else may read from the
    child's stdout before this: what Python has buffered already is not seen.
    """
    assert process.stdout is not None
    descriptor, line = process.stdout.fileno(), b""
    deadline = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"process {process.pid} wrote {line!r} and no line in {seconds:g} s"
        read = os.read(descriptor, 1)
        assert read, f"process {process.pid} wrote {line!r} and ended with status {process.poll()}"
        line += read
    return line.decode().removesuffix("\n")


def kill(process: subprocess.Popen[Any], seconds: float = 20.0) -> None:
    """SIGKILL, and wait until it is gone. One that has ended already is left alone."""
    if process.poll() is None:
        process.kill()
        process.wait(timeout=seconds)
