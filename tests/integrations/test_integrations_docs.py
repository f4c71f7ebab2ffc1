"""The programs and the configuration of docs/integrations.md, as they stand but for the names of the data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sightline.cli.main import run
from sightline.settings import Settings
from tests.integrations.conftest import BY_RED
from tests.sightline.conftest import ROOT

PAGE = (ROOT / "docs" / "integrations.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_the_programs_run(
    settings: Settings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, file in (("beach", "a.png"), ("street", "e.png")):
        (tmp_path / f"{name}.jpg").write_bytes((photos / file).read_bytes())
    ours = {
        '"holiday"': '"pictures"',
        '"pictures-data"': repr(str(settings.data_folder)),
        '"demo"': '"toy"',
        "a dog on a beach": "red",
    }
    program = "\n".join(blocks("python"))
    for theirs, mine in ours.items():
        assert theirs in program
        program = program.replace(theirs, mine)
    exec(compile(program, "docs/integrations.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[-2] for line in lines[:5]) == BY_RED
    assert lines[5].startswith("the beach 0.9")
    assert [0 <= float(line.split()[-1]) <= 1 for line in lines[6:]] == [True, True]


def test_the_configuration_of_a_client_starts_the_command(tmp_path: Path) -> None:
    [configuration] = blocks("json")
    server = json.loads(configuration)["mcpServers"]["sightline"]
    assert server["command"] == "sightline"
    assert server["args"][:2] == ["mcp", "--data"]
    missing = tmp_path / "missing"
    assert run([*server["args"][:2], str(missing)]) == 3
    assert not missing.exists()
