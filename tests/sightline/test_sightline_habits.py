"""What people expect of any command line: -h, --version, completion, how long it takes yet."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from sightline import __version__
from sightline.cli.bars import progress_bars, rate
from sightline.cli.main import app, run
from sightline.settings import Settings
from sightline.wiring import Installation
from tests.sightline.conftest import Run, index, save


def test_version_is_one_line(sightline: Run) -> None:
    told = sightline("--version")
    assert (told.code, told.stdout, told.stderr) == (0, f"sightline {__version__}\n", "")


def lacking_h(command: Any, parent: Any = None) -> Iterator[str]:
    """The commands and groups that do not know -h."""
    given = command.context_settings
    context = command.context_class(command, info_name=command.name, parent=parent, **given)
    if "-h" not in command.get_help_option_names(context):
        yield str(context.command_path)
    for one in getattr(command, "commands", {}).values():
        yield from lacking_h(one, context)


def test_every_command_and_group_knows_h(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(lacking_h(typer.main.get_command(app))) == []
    assert run(["trash", "list", "-h"]) == 0
    assert "Usage: sightline trash list" in capsys.readouterr().out


def completed(sightline: Run, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """What a bash would complete at the end of the line."""
    monkeypatch.setenv("_SIGHTLINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    said = sightline()
    monkeypatch.delenv("_SIGHTLINE_COMPLETE")
    return said.stdout.split()


def test_a_shell_completes_what_the_catalog_names_and_makes_nothing(
    sightline: Run,
    services: Installation,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save(tmp_path / "photos", "red", "red")
    index(services, tmp_path / "photos", "photos")
    services.collections.create("phones")
    services.collections.create("gone")
    services.catalog.delete_collection("gone")
    before = sorted(settings.data_folder.rglob("*"))
    assert completed(sightline, monkeypatch, "sightline search -c ") == ["phones", "photos"]
    assert completed(sightline, monkeypatch, "sightline search -c phot") == ["photos"]
    assert completed(sightline, monkeypatch, "sightline jobs ") == [services.catalog.jobs(None, 1)[0].id]
    assert "search" in completed(sightline, monkeypatch, "sightline se")
    assert sorted(settings.data_folder.rglob("*")) == before
    nowhere = tmp_path / "nowhere"
    assert completed(sightline, monkeypatch, f"sightline search --data {nowhere} -c ") == []
    monkeypatch.setenv("SIGHTLINE_DATA", str(nowhere))
    assert completed(sightline, monkeypatch, "sightline search -c ") == []
    assert not nowhere.exists()


def test_the_former_name_of_captions_is_taken_with_a_word(sightline: Run, tmp_path: Path) -> None:
    rows = tmp_path / "captions.jsonl"
    told = sightline("eval", "--data", str(rows), "--images", str(tmp_path), "--model", "demo")
    assert told.code == 2
    assert f"The option --data names the data folder; say --captions {rows}." in told.stderr
    named = sightline("eval", "--data", str(tmp_path), "--images", str(tmp_path))
    assert (named.code, "--captions FILE" in named.stderr) == (2, True)


@pytest.mark.parametrize(
    ("per_second", "said"), [(None, ""), (0.0, ""), (0.05, "3.0/min"), (1.0, "1.0/s"), (1234.5, "1,234.5/s")]
)
def test_a_rate_is_told_in_the_unit_that_fits(per_second: float | None, said: str) -> None:
    assert rate(per_second) == said


def test_a_bar_tells_how_fast_and_how_long_yet() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress_bars(screen) as bars:
        task = bars.add_task("embedding", total=1000)
        for done in (1, 2, 500):
            bars.update(task, completed=done)
        bars.refresh()
    assert isinstance(screen.file, io.StringIO)
    assert re.search(r"embedding.*500/1000.*[\d,.]+/s.*\d:\d\d:\d\d", screen.file.getvalue(), re.DOTALL)


def test_off_a_terminal_there_is_no_bar() -> None:
    screen = Console(file=io.StringIO(), force_terminal=False)
    with progress_bars(screen) as bars:
        bars.update(bars.add_task("embedding", total=2), completed=1)
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue() == ""
