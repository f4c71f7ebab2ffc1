"""Nothing that lies in the working folder is imported, whatever its name: every command in a folder of traps.

For every top-level name that some Python process could import there is a file of that name in the folder,
which leaves a mark when it is executed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer.main
from PIL import Image

from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.toy import COLOURS
from sightline.cli.main import app
from tests.children import kill, read_line
from tests.services import free_port
from tests.sightline.http import finished, request, upload

SCRIPT = Path(sys.executable).parent / "sightline"
OURS = {
    "api", "base", "benchmarks", "blip", "captioner", "conftest", "demo", "evaluation", "imaging", "indexer",
    "pillars", "reranker", "retriever", "searching", "serving", "settings", "sightline", "store", "tests",
    "training", "wiring",
}  # fmt: skip
"""Names of this house, also of the past and of its insides."""
LIBRARIES = {"celeryconfig", "sitecustomize", "usercustomize", "readline", "setup", "__main__", "__mp_main__"}
"""Names that an interpreter or a library looks for by itself."""
PACKAGES = ("api", "store", "torch", "yaml")
"""Some stand as folders too: a folder wins over a file."""
PICTURES = ("red", "green", "blue", "white")
ANSWERING = {
    "index": ["index", ".", "-c", "here", "--model", "toy"],
    "search": ["search", "red", "-c", "here"],
    "similar": ["similar", "red.png", "-c", "here"],
    "duplicates": ["duplicates", "-c", "here"],
    "rerank": ["rerank", "red", "blue.png", "red.png", "--model", "toy"],
    "ask": ["ask", "how many red?", "red.png", "--task", "counting"],
    "caption": ["caption", "red.png"],
    "capfilt": ["capfilt", "-c", "here", "--report", "../report"],
    "texts list": ["texts", "list", "-c", "here"],
    "texts keep": ["texts", "keep", "-c", "here", "1"],
    "texts drop": ["texts", "drop", "-c", "here", "1"],
    "texts withdraw": ["texts", "withdraw", "-c", "here", "1"],
    "texts report": ["texts", "report", "-c", "here"],
    "texts export": ["texts", "export", "-c", "here", "../texts.jsonl"],
    "collections": ["collections"],
    "saved add": ["saved", "add", "reds", "red", "-c", "here"],
    "saved change": ["saved", "change", "reds", "-c", "here", "--min-probability", "0.9"],
    "saved list": ["saved", "list", "-c", "here"],
    "saved members": ["saved", "members", "reds", "-c", "here"],
    "saved remove": ["saved", "remove", "reds", "-c", "here"],
    "generations set": ["generations", "set", "-c", "here", "exact"],
    "jobs": ["jobs"],
    "doctor": ["doctor"],
    "adopt": ["adopt"],
    "calibrate": ["calibrate", "-c", "here", "--reset"],
    "cache report": ["cache", "report", "-c", "here", "--queries", "queries.txt"],
    "generations sync": ["generations", "sync", "-c", "here"],
    "cache fit": ["cache", "fit", "-c", "here"],
    "generations list": ["generations", "list", "-c", "here"],
    "delete": ["delete", "-c", "here", "--id", "blue.png"],
    "trash list": ["trash", "list", "-c", "here"],
    "trash restore": ["trash", "restore", "-c", "here", "blue.png"],
    "trash empty": ["trash", "empty", "--all", "--yes"],
    "keys create": ["keys", "create", "somebody", "--scope", "admin"],
    "keys list": ["keys", "list"],
    "keys revoke": ["keys", "revoke", "somebody"],
    "keys clear": ["keys", "clear", "--yes"],
    "backup": ["backup", "../backup"],
    "restore": ["restore", "../backup", "--data", "../restored"],
}
"""Commands that end with one JSON document."""
SILENT = ("migrate", "ping", "mcp")
RUNNING = ("worker", "builder", "serve", "up", "watch")
"""Commands that run until SIGTERM."""
WATCHED = (".", "-c", "here")
INDEXED = ("generations report",)
"""Commands that need an index, which a builder makes."""
FOLLOWING = ("saved follow",)
"""Commands that print lines until SIGTERM."""
SLOW = ("demo", "train", "eval")


@dataclass
class Folder:
    """A folder of other people's files, and the marks that these left elsewhere."""

    pictures: Path
    marks: Path
    data: Path
    port: int
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def executed(self) -> list[str]:
        """The traps that somebody stepped into."""
        return sorted(path.name for path in self.marks.iterdir())

    def environment(self, data: str = "data") -> dict[str, str]:
        """As a user has it: nothing says where to import from."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SIGHTLINE"))
        }
        return kept | {
            "SIGHTLINE_DATA": str(self.data / data),
            "SIGHTLINE_MODEL__NAME": "toy",
            "SIGHTLINE_API__PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *arguments: str) -> Any:
        """A command to its end; its JSON where it has any."""
        command = [str(SCRIPT), *arguments]
        done = subprocess.run(
            command, cwd=self.pictures, env=self.environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
        assert self.executed() == [], arguments
        return json.loads(done.stdout) if "--json" in arguments else None

    def first_line(self, *arguments: str) -> Any:
        """What a command that goes on prints first; it is ended then."""
        command = [str(SCRIPT), *arguments]
        environment = self.environment()
        with subprocess.Popen(command, cwd=self.pictures, env=environment, stdout=subprocess.PIPE) as process:
            try:
                return json.loads(read_line(process, 120))
            finally:
                kill(process)

    def start(self, name: str, port: int, data: str = "data") -> subprocess.Popen[bytes]:
        """A command that goes on; its words go to a file."""
        environment = self.environment(data) | {"SIGHTLINE_API__PORT": str(port)}
        more = WATCHED if name == "watch" else ()
        with (self.data / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(SCRIPT), name, *more], cwd=self.pictures, env=environment, stdout=log, stderr=log
            )
        self.running.append(process)
        return process


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "pictures", tmp_path / "marks", tmp_path / "work", free_port())
    for path in (made.pictures, made.marks, made.data):
        path.mkdir()
    for name in sorted(names()):
        (made.pictures / f"{name}.py").write_text(trap(made.marks / name))
    for name in PACKAGES:
        (made.pictures / name).mkdir()
        (made.pictures / name / "__init__.py").write_text(trap(made.marks / name))
    for colour in PICTURES:
        rgb = tuple(round(255 * channel) for channel in COLOURS[colour])
        Image.new("RGB", (16, 16), rgb).save(made.pictures / f"{colour}.png")
    (made.pictures / "queries.txt").write_text("red\nblue\n")
    yield made
    for process in made.running:
        kill(process)


def names() -> set[str]:
    """Every top-level name that could be imported here."""
    installed = {name for name in metadata.packages_distributions() if name.isidentifier()}
    return {*sys.stdlib_module_names, *installed, *OURS, *LIBRARIES}


def trap(mark: Path) -> str:
    """A module that says so when it is executed, with nothing but builtins."""
    return f"open({str(mark)!r}, 'w').close()\n"


def commands(group: Any, prefix: str = "") -> Iterator[str]:
    """The full names of all commands."""
    if not hasattr(group, "commands"):
        yield prefix.strip()
        return
    for name, command in group.commands.items():
        yield from commands(command, f"{prefix} {name}")


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


def answers(port: int) -> bool:
    """Whether a server of ours is ready."""
    try:
        request(f"http://127.0.0.1:{port}/readyz")
    except OSError:
        return False
    return True


def test_every_command_is_tried_here() -> None:
    tried = {*ANSWERING, *SILENT, *RUNNING, *INDEXED, *FOLLOWING, *SLOW}
    assert tried == set(commands(typer.main.get_command(app)))


def test_a_trap_works(folder: Folder) -> None:
    """What the others rely on: with the current folder importable, the traps are executed."""
    command = [sys.executable, "-c", "import colorsys, api"]
    subprocess.run(command, cwd=folder.pictures, env=folder.environment(), check=True, timeout=60)
    assert {"api", "colorsys"} <= set(folder.executed())


@pytest.mark.timeout(600)
def test_no_command_that_answers_imports_from_the_working_folder(folder: Folder) -> None:
    folder.run("migrate")
    found = {name: folder.run(*arguments, "--json") for name, arguments in ANSWERING.items()}
    assert found["index"]["indexed"] == 4
    assert {error["reason"] for error in found["index"]["errors"]} <= {"not_an_image", "empty"}
    assert found["search"]["results"][0]["id"] == "red.png"
    assert [row["image"] for row in found["rerank"]["results"]] == ["red.png", "blue.png"]
    assert [row["answer"] for row in found["ask"]["results"]] == ["4"]
    assert [row["name"] for row in found["collections"]["collections"]] == ["here"]
    assert [(job["kind"], job["state"]) for job in found["jobs"]["jobs"]] == [
        ("capfilt", "done"), ("index", "done"),
    ]  # fmt: skip
    assert found["caption"]["results"][0]["captions"][0]["text"] == "red top left"
    assert found["capfilt"]["job"]["processed"] == len(found["texts list"]["items"]) == 4
    assert found["cache report"]["queries"] == 2
    assert found["cache fit"]["images"] == 4
    assert found["delete"]["deleted"] == 1
    folder.run("mcp")  # until stdin ends


def test_no_command_that_goes_on_imports_from_the_working_folder(folder: Folder) -> None:
    other = free_port()
    for name in ("worker", "builder", "serve"):
        folder.start(name, folder.port)
    folder.start("up", other, "other")
    until(lambda: answers(folder.port) and answers(other), "both servers")
    for port in (folder.port, other):
        url = f"http://127.0.0.1:{port}"
        request(f"{url}/v1/collections", {"name": "here"})
        finished(url, upload(f"{url}/v1/collections/here/images", "red.png", "red")["job"]["id"])
        found = request(f"{url}/v1/collections/here/search", {"text": "red"})
        assert len(found["results"]) == 1
    for name in ("worker", "builder"):
        folder.run("ping", name)
    listed = ("generations", "list", "-c", "here", "--json")
    until(lambda: bool(folder.run(*listed)["generations"]), "an index")
    asked = ("generations", "report", "-c", "here", "--queries", "queries.txt", "--json")
    assert folder.run(*asked)["rows"][0]["recall100"] == 1
    folder.run("saved", "add", "reds", "red", "-c", "here", "--json")
    joined = folder.first_line("saved", "follow", "reds", "-c", "here", "--after", "0")
    assert joined["image_id"] == found["results"][0]["id"]
    folder.start("watch", folder.port)
    until(lambda: "4 indexed" in (folder.data / "watch.log").read_text(), "what lies in the folder")
    for process in folder.running:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=60) for process in folder.running] == [0] * len(RUNNING)
    assert folder.executed() == []


@pytest.mark.long
def test_learning_and_the_demo_import_nothing_from_the_working_folder(folder: Folder) -> None:
    model = write_random_checkpoint(folder.data / "model")
    rows = [{"image": f"{name}.png", "captions": [f"a {name} house", f"the {name} dog"]} for name in PICTURES]
    (folder.pictures / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = ("--captions", "captions.jsonl", "--images", ".", "--json")
    small = ("--epochs", "1", "--batch-size", "2", "--out", "trained")
    assert folder.run("eval", "--model", str(model), "--k", "2", *given)["images"] == 4
    folder.run("train", "--model", str(model), *small, *given)
    assert (folder.pictures / "trained" / "model.safetensors").exists()
    found = folder.run("demo", "--once", "--json")
    assert found["indexed"]["indexed"] == 500
