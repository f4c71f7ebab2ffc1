"""``sightline up``: the whole service on one machine, as supervised processes."""

from __future__ import annotations

import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.console import remarks
from sightline.processes.exposure import check_exposure
from sightline.processes.log_files import LogWatch
from sightline.processes.serve import listen
from sightline.processes.supervisor import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.settings import Settings

LOOK_SECONDS = 0.5


def run(settings: Settings, logs: Path | None = None) -> None:
    """Start API, worker and builder, keep them alive, stop them on SIGTERM or Ctrl-C.

    With a folder ``logs`` their logs go there, and stderr is told when they are ready, and of errors.
    """
    settings = with_port(settings)
    with stop_signal() as stop, start(settings, logs) as supervisor:
        console = remarks()
        console.print(f"Starting on {url(settings)} (Ctrl-C stops)")
        if logs is None:
            keep_alive(supervisor, stop)
            return
        _say_exposure(settings)
        console.print(f"Data folder: {settings.data_folder}; logs: {logs}", markup=False, soft_wrap=True)
        keep_alive(supervisor, stop, _Told(settings, supervisor.logs).look)


def _say_exposure(settings: Settings) -> None:
    """The warning that ``serve`` writes to its log."""
    with listen(settings.api.host, 0) as listener:
        warning = check_exposure(listener, settings)
    if warning is not None:
        remarks().print(warning, style="yellow", markup=False, soft_wrap=True)


class _Told:
    """What the terminal is told of processes whose logs are elsewhere."""

    def __init__(self, settings: Settings, logs: Sequence[Path]) -> None:
        self._settings = settings
        self._watch = LogWatch(logs)
        self._is_ready = False

    def look(self) -> None:
        """That they are ready, once, and each error."""
        if not self._is_ready and answers(self._settings):
            self._is_ready = True
            remarks().print(f"Ready: {url(self._settings)}")
        for sentence in self._watch.errors():
            remarks().print(sentence, style="red", markup=False, soft_wrap=True)


@contextmanager
def start(settings: Settings, logs: Path | None = None) -> Iterator[Supervisor]:
    """All three processes; leaving stops them. The migration runs before, once."""
    from sightline.wiring import open_installation

    with open_installation(settings) as services:
        services.claim_folders()

    with Supervisor(settings, logs=logs, on_restart=_say_restart) as supervisor:
        for name in ("builder", "worker"):
            supervisor.start(name, name)
        supervisor.start("serve", "serve")
        yield supervisor


def keep_alive(supervisor: Supervisor, stop: threading.Event, look: Callable[[], None] | None = None) -> None:
    """Restart what dies until told to stop; ``look`` is called in between."""
    while not stop.wait(LOOK_SECONDS):
        supervisor.check()
        if look is not None:
            look()


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; the handlers of before come back afterwards."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def answers(settings: Settings) -> bool:
    """Whether the API answers on its address."""
    try:
        with urllib.request.urlopen(f"{url(settings)}/livez", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def readiness(settings: Settings) -> int | None:
    """The status of ``/readyz``; None when nobody answers."""
    try:
        with urllib.request.urlopen(f"{url(settings)}/readyz", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def with_port(settings: Settings) -> Settings:
    """The settings with a port that is free now: the one they name (else UnavailableError), or any for 0.

    InputError, as ``serve`` raises it, when other machines would be served without a key.
    """
    with listen(settings.api.host, settings.api.port) as listener:
        check_exposure(listener, settings)  # serve says the warning
        port = int(listener.getsockname()[1])
    return settings.model_copy(update={"api": replace(settings.api, port=port)})


def url(settings: Settings) -> str:
    """Where a browser on this machine finds the page."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.api.host, settings.api.host)
    return f"http://{host}:{settings.api.port}"


def _say_restart(name: str, status: int) -> None:
    remarks().print(f"[yellow]{name} ended with status {status}; starting it again[/]")
