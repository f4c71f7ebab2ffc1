"""The files that a search passes through, in any checkout: its code runs on a toy collection."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any


@dataclass
class Tracer:
    """The files below ``root`` in which a function is called while this is ``on``; module level excluded."""

    root: Path
    on: bool = False
    names: set[str] = field(default_factory=set)

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if self.on and event == "call" and frame.f_code.co_name != "<module>":
            self.names.add(frame.f_code.co_filename)

    def files(self, work: Callable[[], object]) -> list[str]:
        """The files that ``work`` passes through, in whatever thread."""
        self.names.clear()
        self.on = True
        work()
        self.on = False
        real = {Path(name).resolve() for name in self.names if os.path.isabs(name)}
        inside = {path.relative_to(self.root) for path in real if path.is_relative_to(self.root)}
        ours = {path for path in inside if path.parts[0] not in (".venv", "benchmarks")}
        return sorted(map(str, ours))


def measure_search(root: Path) -> dict[str, list[str]]:
    """The files of ROOT that a search passes through, over HTTP and as a call, first and warm."""
    sys.path.insert(0, str(root))
    tracer = Tracer(root.resolve())
    # Before any thread starts: only threads that start later are traced.
    threading.setprofile(tracer)
    sys.setprofile(tracer)
    with tempfile.TemporaryDirectory() as folder:
        data = _indexed(root, Path(folder))
        found = _over_http(tracer, data) | _as_a_call(tracer, data)
    sys.setprofile(None)
    return found


def _indexed(root: Path, folder: Path) -> Path:
    """The data folder of an installation with four pictures, made by the command line."""
    from PIL import Image

    photos, data = folder / "photos", folder / "data"
    photos.mkdir()
    for colour in ("red", "green", "blue", "white"):
        Image.new("RGB", (16, 16), colour).save(photos / f"{colour}.png")
    command = [sys.executable, "-m", "sightline", "index", str(photos), "-c", "pictures", "--model", "toy"]
    variables = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    variables |= {"SIGHTLINE_DATA": str(data), "SIGHTLINE_MODEL__NAME": "toy"}
    subprocess.run(command, check=True, env=variables, cwd=folder, timeout=300, stdout=subprocess.DEVNULL)
    os.environ.update(SIGHTLINE_DATA=str(data), SIGHTLINE_MODEL__NAME="toy")
    return data


def _over_http(tracer: Tracer, data: Path) -> dict[str, list[str]]:
    from fastapi.testclient import TestClient

    create_app = _first("sightline.api.app", "api.app").create_app
    with (
        _installation(data) as installed,
        TestClient(create_app(getattr(installed, "api_parts", installed)), "http://localhost") as client,
    ):

        def search() -> None:
            answer = client.post("/v1/collections/pictures/search", json={"text": "red blue"})
            assert answer.status_code == 200, answer.text

        deadline = time.monotonic() + 60
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, "the server never became ready"
            time.sleep(0.1)
        return _cold_and_warm("over HTTP", tracer, search)


def _as_a_call(tracer: Tracer, data: Path) -> dict[str, list[str]]:
    request = _first("sightline.records", "base.search").SearchRequest("pictures", "red blue")
    with _installation(data) as installed:
        find = getattr(installed.search, "find", installed.search)
        return _cold_and_warm("as a call", tracer, lambda: find(request))


def _installation(data: Path) -> Any:
    """The parts of an installation, whatever a checkout calls the function that wires them."""
    settings = _first("sightline.settings").Settings(data=data)
    wiring = _first("sightline.wiring")
    wire = wiring.open_installation if hasattr(wiring, "open_installation") else wiring.build_services
    return wire(settings)


def _cold_and_warm(way: str, tracer: Tracer, search: Callable[[], object]) -> dict[str, list[str]]:
    """The first search makes what is made once; a warm one is the third."""
    cold = tracer.files(search)
    search()
    return {f"warm, {way}": tracer.files(search), f"first, {way}": cold}


def _first(*names: str) -> Any:
    """The first of the modules that exists: checkouts differ in where a thing lies."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
    raise ModuleNotFoundError(f"None of {', '.join(names)} exists.")
