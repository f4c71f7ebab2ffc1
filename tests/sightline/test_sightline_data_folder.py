"""Where data lies when nobody says so, and that looking at it makes nothing."""

from __future__ import annotations

import pickle
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from sightline.cli.main import app, run
from sightline.data_folder import default_folder
from sightline.errors import NoCatalogError, NoCollectionError
from sightline.settings import load_settings
from sightline.wiring import open_installation
from tests.deploy.test_deploy_foreign_folder import ANSWERING, FOLLOWING, INDEXED, RUNNING, SLOW, commands
from tests.sightline.conftest import Ended, save

MAKING = {"index", "migrate", "restore", "keys create", *RUNNING, *SLOW}
"""Commands that make a data folder; all others are tried, also those that will be added."""
WORDS = {
    "ping": ["ping", "worker"],
    "mcp": ["mcp"],
    "saved follow": ["saved", "follow", "reds", "-c", "here"],
    "generations report": ["generations", "report", "-c", "here", "--queries", "queries.txt"],
}
NOT_THREE = {"doctor": 0, "rerank": 0, "ask": 0, "caption": 0, "ping": 5}
"""Commands about files, or about what is there at all."""

Run = Callable[..., Ended]


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home, without anything of ours in it, and the model of whoever indexes there."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("SIGHTLINE_MODEL__NAME", "toy")
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    return home


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def command(user: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """A command as this user types it."""

    def command(words: str) -> Ended:
        capfd.readouterr()
        code = run(shlex.split(words))
        return Ended(code, *capfd.readouterr())

    return command


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_indexed_in_one_folder_is_found_from_another(
    command: Run, user: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(here / "photos", "red", "red")
    save(here / "photos", "blue", "blue")
    indexed = command("index photos -c pics --no-wait")
    assert indexed.code == 0, indexed
    assert f"Data folder: {user}/data/sightline" in indexed.stderr
    assert (user / "data" / "sightline").stat().st_mode & 0o777 == 0o700, (
        "nobody else reads a user's pictures"
    )
    assert "Data folder" not in command("index photos -c pics --no-wait").stderr, "it is no news any more"
    with open_installation(load_settings(), inline=True) as services:
        for job in services.catalog.jobs(None, 5):
            services.indexer.wait(job.id, timeout=60)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = command("search red --json")
    assert found.answer["results"][0]["id"] == "red.png", "-c is left out, for there is one collection"
    assert [row["name"] for row in command("collections --json").answer["collections"]] == ["pics"]
    unknown = command("search red -c picks")
    assert unknown.code == 3
    said = f"There is no collection 'picks'; the data folder {user}/data/sightline holds the collection pics."
    assert unknown.stderr == f"error: {said}\n"
    assert tree(here) == ["photos", "photos/blue.png", "photos/red.png"]
    assert tree(tmp_path / "elsewhere") == []
    no_name = command("delete --all")
    assert (no_name.code, "Name the collection" in no_name.stderr) == (2, True)
    again = command(f"index {here}/photos --no-wait")
    assert again.code == 0, again
    assert "Into the collection pics, the only one." in again.stderr
    assert command(f"index {here}/photos -c more --no-wait").code == 0
    for words in ("search red", f"index {here}/photos"):
        several = command(words)
        assert several.code == 2
        assert several.stderr.rstrip().endswith("holds the collections more, pics.")


def test_a_folder_in_use_in_the_working_folder_is_kept(
    user: Path, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, old = user / "data" / "sightline", here / "sightline-data"
    assert default_folder() == own
    old.mkdir()
    assert default_folder() == own, "an empty folder of that name is anybody's"
    for name in ("catalog.sqlite", ".sightline-installation"):  # the second alone: its catalog is elsewhere
        (old / name).write_text("")
        assert default_folder() == load_settings().data_folder == old
        (old / name).unlink()
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path / "said"))
    (old / "catalog.sqlite").write_text("")
    assert load_settings().data_folder == tmp_path / "said"


def test_every_command_that_needs_a_catalog_says_where_none_is_and_makes_nothing(
    command: Run, user: Path, here: Path
) -> None:
    for name in ("red", "blue"):
        save(here, name, name)
    (here / "queries.txt").write_text("red\n")
    before = tree(here)
    tried = {**ANSWERING, **WORDS}
    assert set(tried) >= {*INDEXED, *FOLLOWING}
    for name in set(commands(typer.main.get_command(app))) - MAKING:
        ended = command(shlex.join(tried[name]))
        assert ended.code == NOT_THREE.get(name, 3), (name, ended)
        assert (tree(user), tree(here)) == ([], before), name
        if ended.code:
            assert f"the data folder {user}/data/sightline does not exist yet" in ended.stderr, name
    (user / "data" / "sightline").mkdir(parents=True)
    said = command("search red -c pics").stderr
    assert f"There is no collection 'pics': the data folder {user}/data/sightline holds no catalog" in said
    assert tree(user) == ["data", "data/sightline"]


def test_the_sentences_cross_a_process_border_as_they_are() -> None:
    for error in (NoCatalogError("the data folder /x does not exist yet"), NoCollectionError("pics")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
