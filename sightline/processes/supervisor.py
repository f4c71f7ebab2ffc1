"""Child processes of one command: started, restarted when they die, stopped together, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sightline.errors import UnavailableError
from sightline.processes import lifeline
from sightline.processes.log_files import bound
from sightline.settings import Settings, environment

QUICK_DEATH_SECONDS = 20.0
"""A process that lived longer than this has worked; its death starts the count anew. Shorter than a lease of
a batch: what kills workers must not end the service before it stands alone and is given up.
"""


@dataclass
class Child:
    """One supervised ``sightline`` command. ``log`` None: its stderr is ours."""

    name: str
    arguments: Sequence[str]
    log: Path | None
    process: subprocess.Popen[bytes]
    started: float
    quick_deaths: int = 0


class Supervisor:
    """Runs ``sightline`` commands with the settings of this process; leaving it as a context stops all."""

    def __init__(
        self,
        settings: Settings,
        *,
        logs: Path | None = None,
        on_restart: Callable[[str, int], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._logs = logs
        self._on_restart = on_restart
        self._now = now
        self._children: list[Child] = []
        self._read_end, self._write_end = os.pipe()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, *arguments: str) -> Child:
        """Start ``sightline ARGUMENTS``; with a log folder, what it writes goes to ``name.log`` there."""
        log = None if self._logs is None else self._logs / f"{name}.log"
        child = Child(name, arguments, log, self._spawn(arguments, log), self._now())
        self._children.append(child)
        return child

    @property
    def logs(self) -> list[Path]:
        """The logs of what was started; none where they go to our stderr."""
        return [child.log for child in self._children if child.log is not None]

    def start_missing(self, *names: str) -> None:
        """Start those of the commands that are not running under this supervisor yet."""
        running = {child.name for child in self._children}
        for name in names:
            if name not in running:
                self.start(name, name)

    def check(self) -> None:
        """Restart what has died; call it every now and then.

        Raises:
            UnavailableError: a process keeps dying right after its start; the sentence ends with its last
            words.
        """
        for child in self._children:
            if child.log is not None:
                bound(child.log)
            status = child.process.poll()
            if status is not None:
                self._restart(child, status)

    def stop(self) -> None:
        """SIGTERM to all, time to finish the batch in hand, then SIGKILL. A second Ctrl-C kills at once."""
        for child in reversed(self._children):
            _signal_group(child.process, signal.SIGTERM, group=False)
        try:
            deadline = time.monotonic() + self._settings.up.stop_seconds
            for child in self._children:
                _wait(child.process, deadline - time.monotonic())
        finally:
            for child in self._children:
                _signal_group(child.process, signal.SIGKILL, group=True)
                child.process.wait()
            self._children.clear()
            self._close_lifeline()

    def _spawn(self, arguments: Sequence[str], log: Path | None) -> subprocess.Popen[bytes]:
        # -P: the current folder may be a folder of other people's files, and none of them may be imported.
        command = [sys.executable, "-P", "-m", "sightline", *arguments]
        variables = os.environ | environment(self._settings) | {lifeline.VARIABLE: str(self._read_end)}
        output = subprocess.DEVNULL
        errors = None
        if log is not None:
            with suppress(OSError):  # a disk that takes no log shall not keep anybody from working
                log.parent.mkdir(parents=True, exist_ok=True)
                output = errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # A session of its own: Ctrl-C reaches this process only, which then stops the children in order.
            return subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                pass_fds=(self._read_end,), start_new_session=True,
            )  # fmt: skip
        finally:
            if errors is not None:
                os.close(errors)

    def _restart(self, child: Child, status: int) -> None:
        lived = self._now() - child.started
        child.quick_deaths = child.quick_deaths + 1 if lived < QUICK_DEATH_SECONDS else 1
        if child.quick_deaths >= self._settings.up.restart_limit:
            raise UnavailableError(
                f"The {child.name} process keeps ending (last with status {status}){_last_words(child.log)}."
            )
        if self._on_restart is not None:
            self._on_restart(child.name, status)
        # What the dead process may have left of its own: decoders in its session.
        _signal_group(child.process, signal.SIGKILL, group=True)
        child.process = self._spawn(child.arguments, child.log)
        child.started = self._now()

    def _close_lifeline(self) -> None:
        for end in (self._read_end, self._write_end):
            if end >= 0:
                os.close(end)
        self._read_end = self._write_end = -1


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals, *, group: bool) -> None:
    try:
        if group:
            os.killpg(process.pid, number)  # each child leads its own session, and so its own group
        elif process.poll() is None:
            process.send_signal(number)
    except (ProcessLookupError, PermissionError):
        return


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(timeout=max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return


def _last_words(log: Path | None, length: int = 400) -> str:
    if log is None or not log.exists():
        return ""
    text = log.read_text(errors="replace").strip()
    return f"; its log {log} ends: …{text[-length:].rstrip('.')}" if text else ""
