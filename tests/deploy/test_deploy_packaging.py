"""What goes into the wheel, and that the two FAISS extras stay apart."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


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


@pytest.mark.long
def test_the_wheel_carries_data_and_no_tests(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"sightline", "sightline-0.1.0.dist-info"}
    for wanted in (
        "sightline/store/migrations/env.py",
        "sightline/api/templates/",
        "sightline/api/static/",
        "sightline/indexer/sources/",
        "sightline/data/demo-collection/queries.json",
        "sightline/data/demo-model/model.safetensors",
    ):
        assert [name for name in names if name.startswith(wanted)], f"{wanted} is missing in the wheel"
