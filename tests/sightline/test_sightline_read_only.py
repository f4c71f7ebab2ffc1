"""A data folder that can only be read is searched and listed, and what writes says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.settings import Settings, environment
from sightline.wiring import open_installation
from tests.sightline.conftest import ROOT, index, save, toy_settings

POWERLESS = ("setpriv", "--bounding-set", "-dac_override") if os.geteuid() == 0 else ()
"""Root may write anywhere, unless it has given that up."""


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A folder that other users can enter."""
    folder = Path(tempfile.mkdtemp(prefix="sightline-shelf-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As somebody who may not write there."""
    env = {**os.environ, **environment(settings), "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*POWERLESS, sys.executable, "-m", "sightline", *arguments],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.skipif(bool(POWERLESS) and shutil.which("setpriv") is None, reason="root without setpriv")
def test_a_folder_that_can_only_be_read_is_searched(shelf: Path) -> None:
    settings = toy_settings(shelf / "data")
    save(shelf / "pictures", "a", "red")
    with open_installation(settings, inline=True) as services:
        services.collections.create("pictures")
        index(services, shelf / "pictures")
    for path in shelf.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    found = command(settings, "search", "red", "--collection", "pictures", "--json")
    assert found.returncode == 0, found.stderr
    assert [hit["id"] for hit in json.loads(found.stdout)["results"]] == ["a.png"]
    listed = command(settings, "jobs", "--json")
    assert len(json.loads(listed.stdout)["jobs"]) == 1, listed.stderr
    refused = command(settings, "delete", "--collection", "pictures", "--id", "a.png")
    assert refused.returncode == 5
    assert "can only be read here" in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
