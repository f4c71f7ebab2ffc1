"""A small installation with the toy model: colours in four quarters, whose scores can be computed by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from sightline.blip.toy import COLOURS
from sightline.cli.main import run
from sightline.settings import Settings, environment
from sightline.types import RGB
from sightline.wiring import Installation, open_installation

ROOT = Path(__file__).parents[2]


def picture(*quarters: str, side: int = 8) -> RGB:
    """[side, side, 3] with up to four colours: top left, top right, bottom left, bottom right (cyclic)."""
    half = side // 2
    image = np.zeros((side, side, 3), np.uint8)
    for place in range(4):
        colour = np.round(np.array(COLOURS[quarters[place % len(quarters)]]) * 255).astype(np.uint8)
        row, column = divmod(place, 2)
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] = colour
    return image


def save(folder: Path, name: str, *quarters: str) -> Path:
    """A PNG below the folder."""
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(*quarters)).save(path)
    return path


def toy_settings(data: Path) -> Settings:
    """An empty installation whose model is the toy."""
    empty = Settings(data=data)
    return empty.model_copy(update={"model": replace(empty.model, name="toy")})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty installation whose model is the toy."""
    return toy_settings(tmp_path / "data")


@pytest.fixture
def services(settings: Settings) -> Iterator[Installation]:
    """Its services; work is done in this process, by ``wait``."""
    with open_installation(settings, inline=True) as services:
        yield services


def index(services: Installation, folder: Path, collection: str = "pictures") -> None:
    """Index a folder in this process."""
    services.collections.create(collection)
    job = services.indexer.index([str(folder)], collection)
    services.indexer.wait(job.id, timeout=60)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)


Run = Callable[..., Ended]


@pytest.fixture
def sightline(settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command of the real command line; in this process, because importing everything anew takes
    seconds.
    """
    monkeypatch.chdir(ROOT)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> Ended:
        capfd.readouterr()
        code = run(arguments)
        return Ended(code, *capfd.readouterr())

    return command


def processes_of(settings: Settings) -> list[psutil.Process]:
    """Processes that work on this installation."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("SIGHTLINE_DATA") == str(
                settings.data_folder
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
