"""Commands are answered by the running server of their data folder, and by nobody else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from sightline.api.app import create_app
from sightline.api.server import running
from sightline.client.catalog import delete, jobs
from sightline.client.local import PROOF_SECONDS, LocalServer
from sightline.errors import InputError, UnavailableError
from sightline.processes.announcing import announced, answering, new_server
from sightline.running_server import FILE, RunningServer, announce, found_in, proof, token, withdraw
from sightline.settings import Settings
from sightline.wiring import open_installation
from tests.sightline.conftest import Run, environment, index, save, toy_settings

KEY = "sl-only-for-others"
ASKED = ("/v1/collections/{name}/search", "/v1/collections/{name}/ask")


@dataclass(frozen=True)
class Served:
    """An installation with a collection, and the server of it, which asks others for a key."""

    settings: Settings
    app: FastAPI
    server: RunningServer

    def searches(self) -> float:
        """How many the server answered."""
        counter = self.app.state.metrics.requests
        return sum(float(counter.labels("POST", route, "200")._value.get()) for route in ASKED)

    def expect(self, searches: float) -> None:
        """So many by now; one is counted a moment after its answer was sent."""
        until = time.monotonic() + 10
        while self.searches() < searches and time.monotonic() < until:
            time.sleep(0.01)
        assert self.searches() == searches


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    settings = toy_settings(folder / "data")
    keyed = settings.model_copy(update={"api": replace(settings.api, key=KEY)})
    with open_installation(keyed, inline=True) as services:
        for name, quarters in {"a": ("red", "blue"), "b": ("purple",), "c": ("green",)}.items():
            save(folder / "pictures", name, *quarters)
        index(services, folder / "pictures")
        services.warm_up.start()
        told = new_server("", keyed)
        app = create_app(services.api_parts, local_secret=told.secret)
        with running(app) as url, announced(server := replace(told, url=url), keyed):
            until = time.monotonic() + 60
            while not services.warm_up.status().ready and time.monotonic() < until:
                time.sleep(0.02)
            yield Served(settings, app, server)


@pytest.fixture
def settings(served: Served) -> Settings:
    """Of the commands: those of the server, but for what stands around it."""
    return served.settings


def without_times(text: str) -> Any:
    told = json.loads(text)
    told["timings"] = None
    return json.dumps(told)


@pytest.mark.parametrize(
    "asked",
    [
        ("search", "red"),
        ("search", "red -blue"),
        ("search", "red", "-k", "2", "--offset", "1", "--no-rerank", "--filter", '{"must": []}'),
        ("search", "red", "--min-probability", "0.1", "--sort", "relevance", "--exact"),
        ("search", "red", "--precision", "exact", "--score", "itm", "--collapse"),
        ("search", "red", "--explain"),
        ("search", "red", "--image", "PICTURE"),
        ("similar", "PICTURE"),
        ("similar", "--id", "a.png"),
        ("ask", "is it blue?", "--text", "red", "-k", "2", "--task", "yes_no"),
    ],
    ids=" ".join,
)
def test_the_answer_is_the_same_to_the_letter(served: Served, sightline: Run, asked: tuple[str, ...]) -> None:
    picture = str(served.settings.data_folder.parent / "pictures" / "b.png")
    command = (*(picture if word == "PICTURE" else word for word in asked), "-c", "pictures", "--json")
    before = served.searches()
    by_server = sightline(*command)
    served.expect(before + 1)
    here = sightline(*command, "--local")
    served.expect(before + 1)
    assert (by_server.code, here.code) == (0, 0)
    assert without_times(by_server.stdout) == without_times(here.stdout)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (("search", "red", "-c", "nowhere"), 3),
        (("search", "red", "-c", "pictures", "--filter", '{"x": 1}'), 2),
    ],
)
def test_an_error_is_the_same_too(sightline: Run, asked: tuple[str, ...], code: int) -> None:
    by_server, here = sightline(*asked, "--json"), sightline(*asked, "--json", "--local")
    assert (by_server.code, by_server.stdout) == (here.code, here.stdout)
    assert by_server.code == code


def test_what_a_server_may_refuse_is_answered_here(served: Served, sightline: Run) -> None:
    before = served.searches()
    done = sightline("search", "red", "-c", "pictures", "--candidates", "5000", "--json")
    assert (done.code, len(done.answer["results"])) == (0, 3), "a server scores 1,000 at most"
    assert served.searches() == before


def test_a_command_that_a_server_answers_loads_no_model_whether_its_collection_is_named_or_not(
    served: Served,
) -> None:
    program = (
        "import sys, sightline.cli.main as c; code = c.run(sys.argv[1:]); "
        "print(code, *sys.modules, file=sys.stderr)"
    )
    before = served.searches()
    for number, named in enumerate((("-c", "pictures"), ()), 1):
        command = ("search", "red", "--data", str(served.settings.data_folder), *named)
        done = subprocess.run(
            [sys.executable, "-c", program, *command],
            cwd=served.settings.data_folder.parent, capture_output=True, text=True, timeout=60,
            env=os.environ | environment(served.settings),
        )  # fmt: skip
        code, *modules = done.stderr.splitlines()[-1].split()
        assert (code, len(done.stdout.splitlines()) > 3) == ("0", True), done.stderr
        assert {name.split(".")[0] for name in modules}.isdisjoint({"torch", "transformers", "faiss"})
        served.expect(before + number)


def test_a_command_reads_everything_and_writes_nothing(served: Served) -> None:
    with LocalServer(served.server) as connection:
        assert len(connection.send(jobs())) == 1
        with pytest.raises(InputError, match=r"needs a key with the scope 'write'; the key \(this machine\)"):
            connection.send(delete("pictures", "a.png"))


def test_a_token_is_good_on_its_own_connection_only(served: Served) -> None:
    address = served.server.address
    assert address is not None

    def status(secret: str, off: int) -> int:
        with socket.create_connection(address, 10) as sock:
            given = token(secret, sock.getsockname()[1] + off)
            head = f"GET /v1/jobs HTTP/1.1\r\nHost: {address[0]}\r\nAuthorization: Bearer {given}\r\n"
            sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
            return int(sock.makefile("rb").read().split()[1])

    assert status(served.server.secret, 0) == 200
    assert status(served.server.secret, 1) == 401
    assert status("0" * 64, 0) == 401


class Stranger:
    """A program of somebody else on the port of a server that died; keeps what it is sent."""

    def __init__(self, answer: bytes | None) -> None:
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        try:
            for _ in range(3):
                sock, _ = self._listener.accept()
                with sock:
                    sock.settimeout(5)
                    self.heard += sock.recv(1 << 16)
                    if self._answer is not None:
                        body = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._answer)
                        sock.sendall(body + self._answer)
                    self.heard += sock.recv(1 << 16)
        except OSError:
            return


@pytest.fixture
def alone(tmp_path: Path, served: Served) -> Settings:
    """The same catalog's settings, with no server of theirs."""
    (tmp_path / "data").mkdir()
    return toy_settings(tmp_path / "data")


FORGED = json.dumps({"proof": proof("0" * 64, "0" * 64, 1), "ready": True}).encode()


@pytest.mark.parametrize(
    "answer",
    [FORGED, b"<html>", b"[]", b'{"proof": "\\ud800"}', None],
    ids=["forged", "html", "list", "no text", "nothing"],
)
def test_a_stranger_on_its_port_learns_nothing(alone: Settings, answer: bytes | None) -> None:
    stranger = Stranger(answer)
    try:
        with pytest.raises(UnavailableError), LocalServer(new_server(stranger.url, alone)) as connection:
            connection.send(jobs("a secret wish"))
    finally:
        stranger.close()
    assert stranger.heard.startswith(b"GET /v1/local?nonce=")
    assert b"Authorization" not in stranger.heard
    assert b"secret" not in stranger.heard


def test_a_stranger_that_drips_its_answer_is_waited_for_no_longer_than_one_that_hangs(
    alone: Settings,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        dripped = pool.submit(drip, listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UnavailableError):
            LocalServer(new_server(url, alone))
        assert not dripped.result(30), "the client heard it out"


def drip(listener: socket.socket) -> bool:
    """Sends a header byte by byte, for ten times as long as a proof may take; whether all of it was taken."""
    listener.settimeout(10)
    sock, _ = listener.accept()
    with sock:
        try:
            sock.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            for _ in range(int(PROOF_SECONDS * 50)):
                sock.sendall(b"x")
                time.sleep(0.2)
        except OSError:
            return False
    return True


def test_who_passes_a_proof_on_is_found_out(served: Served) -> None:
    """Somebody between both: the server proves itself to the relay's connection, not to the client's."""
    address = served.server.address
    assert address is not None
    with socket.create_connection(address, 10) as sock:
        port = sock.getsockname()[1]
        head = f"GET /v1/local?nonce={'a' * 64} HTTP/1.1\r\nHost: {address[0]}\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        told = json.loads(sock.makefile("rb").read().rpartition(b"\r\n\r\n")[2])
    assert told == {"proof": proof(served.server.secret, "a" * 64, port), "ready": True}
    assert told["proof"] != proof(served.server.secret, "a" * 64, port + 1)


def test_the_file_is_its_owners_alone_or_counts_as_none(alone: Settings) -> None:
    server, folder = new_server("http://127.0.0.1:8000", alone), alone.data_folder
    announce(folder, server)
    path = folder / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert found_in(folder) == server
    assert server.secret not in repr(server)
    path.chmod(0o640)
    assert found_in(folder) is None, "others may have read the secret"
    path.unlink()
    os.symlink(alone.data_folder / "elsewhere.json", path)
    assert found_in(folder) is None
    path.unlink()
    for text in ("", "[]", "{", "[" * 100_000, json.dumps({"url": 1})):
        path.write_text(text)
        path.chmod(0o600)
        assert found_in(folder) is None


def test_the_stop_of_one_server_leaves_the_file_of_another(alone: Settings) -> None:
    folder = alone.data_folder
    first, second = (new_server(f"http://127.0.0.1:{port}", alone) for port in (8000, 8001))
    with announced(first, alone):
        with announced(second, alone):
            assert found_in(folder) == second
            withdraw(folder, first)
            assert found_in(folder) == second
        assert found_in(folder) is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:8000", "https://127.0.0.1:8000", "http://evil.test:80", "x"]
)
def test_only_this_machine_is_spoken_to(alone: Settings, url: str) -> None:
    server = new_server(url, alone)
    with announced(server, alone):
        assert found_in(alone.data_folder) is None
    with pytest.raises(UnavailableError):
        LocalServer(server)


def test_other_settings_are_other_answers(
    served: Served, sightline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, command = served.searches(), ("search", "red", "-c", "pictures", "--json")
    monkeypatch.setenv("SIGHTLINE_SERVING__MAX_JUDGED", "12345")
    assert sightline(*command).code == 0
    assert served.searches() == before
    monkeypatch.delenv("SIGHTLINE_SERVING__MAX_JUDGED")
    monkeypatch.setenv("SIGHTLINE_API__PORT", "1")
    assert sightline(*command).code == 0
    served.expect(before + 1)


def test_settings_of_the_same_answers_have_one_digest(alone: Settings, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(alone.data_folder)
    linked = toy_settings(tmp_path / "link")
    assert answering(alone, "s") == answering(linked, "s")
    assert answering(alone, "s") != answering(alone, "t")
    assert answering(alone, "s") != answering(toy_settings(tmp_path), "s")
