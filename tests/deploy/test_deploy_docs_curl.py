"""The curl examples of the documents run as they are written, against a server that is there."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from PIL import Image

from sightline.api.app import create_app
from sightline.processes.serve import listen
from sightline.wiring import Installation, open_installation
from tests.deploy.test_deploy_foreign_folder import until
from tests.sightline.conftest import index, picture, save, toy_settings

ROOT = Path(__file__).parents[2]
ELSEWHERE = "compatibility.md"
"""Its examples run in ``tests/api/test_api_rerank_clients.py``, with the key and pictures that they name."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.M | re.S)
STREAM_SECONDS = 2
"""How long an example that never ends by itself is listened to."""


def examples() -> list[tuple[str, str]]:
    """(page, block) of every example with curl."""
    return [
        (page.name, block)
        for page in PAGES
        if page.name != ELSEWHERE
        for block in BLOCK.findall(page.read_text())
        if re.search(r"^curl ", block, re.M)
    ]


def commands(block: str) -> Iterator[str]:
    """Its commands, one by one: each begins at the start of a line."""
    yield from (f"curl {one}" for one in re.split(r"^curl ", block, flags=re.M)[1:])


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The collections, images and a job that the examples name, with the toy model."""
    folder = tmp_path_factory.mktemp("docs")
    settings = toy_settings(folder / "data")
    save(folder / "demo", "picture-151", "red", "blue")
    save(folder / "demo", "picture-144", "blue")
    rows = [f'{{"uri": "demo/{name}.png", "id": "{name}"}}' for name in ("picture-151", "picture-144")]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    with open_installation(settings, inline=True) as services:
        index(services, folder / "rows.jsonl", "demo")
        services.collections.create("holidays")
        yield services


@pytest.fixture(scope="module")
def port(services: Installation) -> Iterator[int]:
    """Where the API answers."""
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(services.api_parts), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started, "the server")
        yield int(listener.getsockname()[1])
        server.should_exit = True
        thread.join(timeout=30)


@pytest.fixture(scope="module")
def shell(services: Installation, port: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user's environment: what they call localhost:8000 is the server, and every answer is told."""
    home = tmp_path_factory.mktemp("home")
    lines = (f'connect-to = "localhost:8000:127.0.0.1:{port}"', "fail-with-body", "silent", "show-error")
    (home / ".curlrc").write_text("\n".join(lines))
    for name in ("beach", "boat"):
        Image.fromarray(picture("red", "green")).save(home / f"{name}.jpg")
    return {"PATH": os.environ["PATH"], "HOME": str(home), "JOB": services.catalog.jobs(None, 1)[0].id}


@pytest.mark.parametrize(("page", "block"), examples(), ids=lambda one: one.split("\n")[0][:60])
def test_the_curl_examples_of_the_documents_run_as_written(
    page: str, block: str, shell: dict[str, str]
) -> None:
    for command in commands(block):
        is_endless = "/events" in command
        run = command.replace("curl ", f"curl --max-time {STREAM_SECONDS if is_endless else 60} ", 1)
        done = subprocess.run(
            ["bash", "-c", run], env=shell, cwd=shell["HOME"], capture_output=True, text=True, timeout=90
        )
        assert done.returncode in ((0, 28) if is_endless else (0,)), (page, command, done.stdout, done.stderr)
        assert done.stdout.strip() or is_endless, (page, command)


def test_there_are_examples_to_run() -> None:
    assert {page for page, _ in examples()} >= {"http.md", "asking.md"}
    assert sum(len(list(commands(block))) for _, block in examples()) >= 12
