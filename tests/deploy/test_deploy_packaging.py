"""What goes into the wheel, and that the two FAISS extras stay apart."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CACHES = shutil.ignore_patterns("__pycache__")


@pytest.fixture
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_faiss_comes_from_exactly_one_extra(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    assert not any("faiss" in one for one in project["project"]["dependencies"])
    named = {extra for extra, needs in extras.items() if any("faiss" in need for need in needs)}
    assert named == {"faiss-cpu", "faiss-gpu"}
    assert project["tool"]["uv"]["conflicts"] == [[{"extra": "faiss-cpu"}, {"extra": "faiss-gpu"}]]


def test_the_wheel_brings_one_import_name_and_every_folder_is_linked_into_it(project: dict[str, Any]) -> None:
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["sightline"]
    present = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"sightline", "demo", "tests"}
    linked = {path.name for path in (ROOT / "sightline").iterdir() if path.is_symlink()}
    assert linked == present
    for name in linked:
        assert (ROOT / "sightline" / name).resolve() == ROOT / name


def test_constraints_pin_torch_without_a_local_build() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in lines
    assert not [line for line in lines if "file:" in line or line.startswith("-e")]


def build(source: Path, target: str, out: Path) -> Path:
    """A wheel, an sdist or an editable wheel, by the build backend itself: no network, no isolation."""
    program = f"import sys; from hatchling.build import build_{target} as b; print(b(sys.argv[1]))"
    command = [sys.executable, "-P", "-c", program, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


def docker_copy(folder: Path) -> Path:
    """What the Dockerfile copies, as it copies it: links stay links."""
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if not line.startswith("COPY ") or "--from" in line:
            continue
        *sources, target = line.split()[1:]
        for name in sources:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / target, symlinks=True, ignore=CACHES)
            else:
                shutil.copy(ROOT / name, folder / target)
    return folder


def unpacked(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (inside,) = folder.iterdir()
    return inside


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of the repository, of its sdist, and of what goes into the image."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("repository", "sdist", "source", "docker")}
    sdist = unpacked(build(ROOT, "sdist", folders["source"]), tmp_path_factory.mktemp("unpacked"))
    image = docker_copy(tmp_path_factory.mktemp("image"))
    return {
        "repository": build(ROOT, "wheel", folders["repository"]),
        "sdist": build(sdist, "wheel", folders["sdist"]),
        "docker": build(image, "wheel", folders["docker"]),
    }


@pytest.mark.parametrize("source", ["repository", "sdist", "docker"])
def test_the_wheel_adds_one_import_name_with_everything_in_it(source: str, wheels: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(wheels[source]).namelist())
    assert {name.split("/")[0] for name in names} == {"sightline", "sightline-0.1.0.dist-info"}
    ours = {path.relative_to(ROOT).as_posix() for path in sources(ROOT / "sightline")}
    assert {name for name in names if name.endswith(".py")} == ours
    assert "sightline/py.typed" in names
    for wanted in (
        "sightline/api/templates/",
        "sightline/api/static/",
        "sightline/data/demo-collection/queries.json",
        "sightline/data/demo-collection/questions.json",
        "sightline/data/demo-model/model.safetensors",
        "sightline/data/demo-asking/model.safetensors",
        "sightline/data/demo-asking/qformer_tokenizer/tokenizer.json",
    ):
        assert [name for name in names if name.startswith(wanted)], f"{wanted} is missing in the wheel"


def sources(folder: Path) -> Iterator[Path]:
    """Every Python file below a folder, through links too; ``rglob`` would pass those over."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from sources(path)
        elif path.suffix == ".py":
            yield path


def test_an_editable_installation_copies_nothing(tmp_path: Path) -> None:
    wheel = zipfile.ZipFile(build(ROOT, "editable", tmp_path))
    outside = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert [Path(name).suffix for name in outside] == [".pth"]
    assert wheel.read(outside[0]).decode().split() == [str(ROOT)]
