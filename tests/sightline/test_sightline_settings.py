"""Settings: documented, readable from the environment, and handed on to child processes unchanged."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.errors import InputError
from sightline.indexer.settings import BuilderSettings
from sightline.settings import Settings, environment, knobs, load_settings, unknown_variables

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(SIGHTLINE_\w+)` \| (?:`([^`]*)`|–) \|", PAGE.read_text(), re.M))
    for knob in knobs():
        assert knob.variable in rows, f"{knob.variable} is missing in docs/settings.md"
        as_written = ",".join(knob.default) if isinstance(knob.default, tuple) else knob.default
        default = "" if as_written in (None, "") else str(as_written)
        assert rows[knob.variable] == default, knob.variable
    assert set(rows) == {knob.variable for knob in knobs()}, "docs/settings.md lists what is no setting"


def test_variables_reach_their_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path / "here"))
    monkeypatch.setenv("SIGHTLINE_API__PORT", "8123")
    monkeypatch.setenv("SIGHTLINE_API__CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("SIGHTLINE_MODEL__REVISION", "")
    monkeypatch.setenv("SIGHTLINE_INDEXER__LEASE_SECONDS", "7.5")
    settings = load_settings()
    assert settings.data_folder == tmp_path / "here"
    assert settings.api.port == 8123
    assert settings.api.cors_origins == ("https://a.example", "https://b.example")
    assert settings.model.revision is None
    assert settings.indexer.lease_seconds == 7.5
    assert settings.indexer.batch_size == Settings().indexer.batch_size


def test_the_command_line_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGHTLINE_DATA", "/elsewhere")
    assert load_settings(tmp_path).data_folder == tmp_path


def test_everything_lies_under_the_data_folder_by_default(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    assert settings.catalog_url == f"sqlite:///{tmp_path}/catalog.sqlite"
    for folder in (settings.segments_folder, settings.generations_folder, settings.broker_settings.folder):
        assert folder is not None
        assert folder.parent == tmp_path
    assert Path(settings.originals_url).parent == tmp_path


def test_released_originals_go_only_from_a_place_of_ones_own_or_when_a_time_is_given(tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    timed = BuilderSettings(released_seconds=5.0)
    assert Settings(data=tmp_path).builder_settings.released_seconds == 7 * 86_400
    assert Settings(data=tmp_path, originals=shared).builder_settings.released_seconds is None
    for originals in ("", shared):
        given = Settings(data=tmp_path, originals=originals, builder=timed)
        assert given.builder_settings.released_seconds == 5.0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SIGHTLINE_API__PORT", "eight"),
        ("SIGHTLINE_API__PROT", "8000"),
        ("SIGHTLINE_IMAGING__SECONDS", "soon"),
        ("SIGHTLINE_IMAGING__MAX_PIXELS", "-1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=variable.rsplit("__", 1)[-1].lower() + "|" + variable):
        load_settings()


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    default = Settings(data=tmp_path)
    settings = default.model_copy(
        update={
            "database_url": "postgresql+psycopg://somewhere/x",
            "segments": tmp_path / "shared",
            "api": replace(default.api, port=9, cors_origins=("https://a.example", "https://b.example")),
            "indexer": replace(default.indexer, batch_size=3),
        }
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_variables_that_nothing_reads_are_found() -> None:
    names = {"SIGHTLINE_DATTA": "x", "SIGHTLINE_DATA": "y", "HOME": "z"}
    assert unknown_variables(names) == ["SIGHTLINE_DATTA"]


@pytest.mark.parametrize("variable", [knob.variable for knob in knobs() if isinstance(knob.default, tuple)])
@pytest.mark.parametrize(
    "text", ['["443", "444"]', "['443', '444']", "[443, 444]", "[443,444]", '"443",444', "[]"]
)
def test_a_list_in_another_notation_is_refused_and_shown_in_ours(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    shown = "" if text == "[]" else "443,444"
    with pytest.raises(InputError, match=f"{variable}={shown}[.]$"):
        load_settings()


def test_addresses_in_brackets_are_no_such_notation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_API__ALLOWED_HOSTS", "[::1], [fe80::1],*.example.org")
    assert load_settings().api.allowed_hosts == ("[::1]", "[fe80::1]", "*.example.org")
