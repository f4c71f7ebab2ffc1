"""One benchmark in a process of its own, for as long as it may take.

What it leaves in memory and in threads hits no other, and what it started ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import ENDS, FIGURES

GRACE_SECONDS: Final = 10.0
"""That a benchmark which reduces itself may take beyond its time before it is ended."""
_TERM_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Outcome:
    """Of one benchmark; what was measured before it failed is kept."""

    figures: dict[str, float] = field(default_factory=dict)
    section: dict[str, Any] | None = None
    failed: str = ""
    """One sentence; empty when it ended well."""
    interrupted: bool = False


def inside(name: str, full: bool) -> list[str]:
    """The command of one benchmark."""
    return [sys.executable, "-m", "benchmarks.run", "--inside", name, *([] if full else ["--small"])]


def run_apart(
    name: str, command: Sequence[str], seconds: float, folder: Path, grace: float = GRACE_SECONDS
) -> Outcome:
    """Run ``command``; its result is expected in ``folder``. Ctrl-C ends it and keeps what there is."""
    result, figures = folder / f"bench-{name}.json", folder / f"bench-{name}.figures"
    for old in (result, figures):
        old.unlink(missing_ok=True)
    given = os.environ | {ENDS: str(time.monotonic() + seconds), FIGURES: str(figures)}
    process = subprocess.Popen(command, env=given, start_new_session=True)
    failed, interrupted = "", False
    try:
        status = process.wait(seconds + grace)
        if status or not result.exists():
            failed = f"The benchmark {name} ended with status {status}."
    except subprocess.TimeoutExpired:
        failed = f"The benchmark {name} was ended: it took longer than its {seconds:.0f} seconds."
    except KeyboardInterrupt:
        failed, interrupted = f"The benchmark {name} was interrupted.", True
    finally:
        _end(process)
    if failed:
        return Outcome(_told(figures), None, failed, interrupted)
    found: dict[str, Any] = json.loads(result.read_text())
    return Outcome(found["figures"], found["section"])


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process with all that it started: asked first, then killed."""
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TERM_SECONDS)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """To its whole group, where there are groups: the group outlives its leader."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        elif process.poll() is None:
            process.terminate()


def _told(path: Path) -> dict[str, float]:
    """The figures that came before the end; a last line that was cut counts as none."""
    found: dict[str, float] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            found |= json.loads(line)
    return found
