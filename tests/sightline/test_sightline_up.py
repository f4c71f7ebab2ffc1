"""``sightline up``: page, API, worker and builder from one command, and nothing left when it ends."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sightline.processes.announcing import answering
from sightline.processes.serve import listen
from sightline.running_server import found_in
from sightline.settings import Settings, environment
from tests.children import kill
from tests.services import free_port
from tests.sightline.conftest import ROOT, Run
from tests.sightline.http import finished, request, upload, wait


class Terminal:
    """A terminal that somebody looks at: what was written to it is read at once."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self._said = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # the end of a terminal that nobody has open any more
            while part := os.read(self.ours, 65536):
                self._said += part

    def close(self) -> str:
        """All that was said."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1
            self._reader.join(timeout=10)
            os.close(self.ours)
        return self._said.decode()


@pytest.fixture
def said() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def service(settings: Settings, said: Terminal) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A running ``sightline up`` with the toy model on the terminal ``said``; ended hard in the end."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "sightline", "up", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | environment(settings),
        stderr=said.theirs,
    )
    try:
        wait(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}", process
    finally:
        kill(process)


@pytest.mark.timeout(600)
def test_a_picture_can_be_uploaded_and_found_and_everything_stops_on_sigterm(
    service: tuple[str, subprocess.Popen[bytes]], said: Terminal, settings: Settings
) -> None:
    url, process = service
    request(f"{url}/v1/collections", {"name": "pictures"})
    job = upload(f"{url}/v1/collections/pictures/images", "halves.png", "red", "blue")["job"]
    finished(url, job["id"])
    found = request(f"{url}/v1/collections/pictures/search", {"text": "red blue"})
    assert len(found["results"]) == 1
    told = found_in(settings.data_folder)
    assert told is not None
    assert told.url == url
    assert told.settings == answering(settings, told.secret), "commands of the same settings ask it"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert found_in(settings.data_folder) is None
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    told = said.close()
    assert f"Ready: {url}" in told
    assert f"logs: {settings.data_folder / 'logs'}" in told
    assert '"level"' not in told, "the logs stay out of the terminal"
    assert f"Sightline serves {url}" in (settings.data_folder / "logs" / "serve.log").read_text()


def test_answers_are_not_held_back_for_the_acknowledgement() -> None:
    """asyncio turns Nagle's algorithm off only on sockets that name their protocol: 40 ms an answer."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_taken_port_is_one_sentence(sightline: Run, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("serve", "up"):
            done = sightline(command, "--port", port)
            assert done.code == 5
            assert port in done.stderr
            assert "Traceback" not in done.stderr


def test_no_worker_is_reported_by_ping(sightline: Run) -> None:
    for process in ("worker", "builder"):
        assert sightline("ping", process).code == 5
    assert sightline("migrate").code == 0
    for process in ("worker", "builder"):
        assert sightline("ping", process).code == 5
    assert sightline("collections", "--json").answer == {"collections": []}
