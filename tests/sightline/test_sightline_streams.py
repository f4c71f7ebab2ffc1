"""The command line writes to any stream, and takes any bytes as arguments: never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from sightline.settings import Settings, environment
from sightline.wiring import Installation
from tests.sightline.conftest import ROOT

NAME = "é☃ 写真"


@pytest.fixture
def collection(services: Installation) -> str:
    services.collections.create("pictures", "demo")
    job = services.catalog.create_job(services.catalog.collection("pictures").id, "index", {})
    from sightline.store.work_records import Failure

    services.catalog.record_failures(job.id, [Failure(NAME, "/x", "unreadable", f"{NAME} is lost.")])
    services.catalog.seal_job(job.id)
    return job.id


def command(
    settings: Settings, arguments: Sequence[str | bytes], before: str = "", **changes: str
) -> subprocess.CompletedProcess[bytes]:
    quoted = [os.fsencode(one) for one in (sys.executable, "-m", "sightline", *arguments)]
    shell = ["sh", "-c", f'exec "$@" {before}', "sh", *quoted]
    env = {**os.environ, **environment(settings), **changes}
    return subprocess.run(shell, cwd=ROOT, env=env, capture_output=True, timeout=120, check=False)


def test_a_stream_that_takes_ascii_only_gets_escapes(settings: Settings, collection: str) -> None:
    plain = command(settings, ["jobs", collection, "--errors"], PYTHONIOENCODING="ascii")
    assert (plain.returncode, plain.stderr) == (0, b"")
    assert b"\\u2603" in plain.stdout
    told = command(settings, ["jobs", collection, "--json"], PYTHONIOENCODING="ascii")
    assert json.loads(told.stdout)["errors"][0]["id"] == NAME


def test_a_closed_stream_and_a_closed_pipe_are_no_traceback(settings: Settings, collection: str) -> None:
    closed = command(settings, ["jobs", collection, "--json"], ">&- 2>&-")
    assert closed.returncode == 0
    piped = command(settings, ["jobs", collection, "--errors"], "| head -c 0")
    assert b"Traceback" not in piped.stderr, piped.stderr


def test_arguments_that_are_no_text_are_a_sentence(settings: Settings, collection: str) -> None:
    done = command(settings, ["delete", "--collection", "pictures", "--id", b"\xff\xfe"])
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: '\\udcff\\udcfe' is not valid Unicode"), done.stderr
