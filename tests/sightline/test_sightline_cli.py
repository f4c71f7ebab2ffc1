"""The command line as a user meets it: one JSON document, exit codes, one sentence for each error."""

from __future__ import annotations

import inspect
import json
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from sightline.cli import searching
from sightline.cli.main import run
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Ended, Run, index, processes_of, save

COUNTS = ("indexed", "unchanged", "replaced", "deleted", "failed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name, quarters in {"a": ("red", "blue"), "b": ("purple",), "c": ("green",)}.items():
        save(folder, name, *quarters)
    return folder


def counts(done: Ended) -> dict[str, int]:
    """What is not zero."""
    return {name: done.answer[name] for name in COUNTS if done.answer[name]}


@pytest.mark.timeout(900)
def test_the_life_of_a_collection(sightline: Run, settings: Settings, folder: Path) -> None:
    index = ("index", str(folder), "--collection", "pictures", "--json")
    (folder / "broken.png").write_bytes(b"no picture")

    done = sightline(*index)
    assert done.code == 0, done.stderr
    assert counts(done) == {"indexed": 3, "failed": 1}
    assert [error["id"] for error in done.answer["errors"]] == ["broken.png"]
    assert processes_of(settings) == [], "index left a process behind"

    (folder / "broken.png").unlink()
    log = settings.data_folder / "logs" / "worker.log"
    written = log.stat().st_size
    assert counts(sightline(*index)) == {"unchanged": 3}
    assert log.stat().st_size == written, "a worker was started with nothing to do"

    save(folder, "b", "red")
    (folder / "c.png").unlink()
    pruned = sightline(*index, "--prune", "--prune-limit", "1")
    assert counts(pruned) == {"unchanged": 1, "replaced": 1, "deleted": 1}

    found = sightline("search", "red", "--collection", "pictures", "--json").answer
    assert {hit["id"]: hit["itm_logit"] for hit in found["results"]} == {"a.png": 4.0, "b.png": 4.0}
    assert (found["effort"], found["scored"]) == ("full", 2)
    told = sightline("search", "red", "-c", "pictures", "--effort", "full").stderr
    assert "ITM scored 2 of 2 candidates" in " ".join(told.split())

    listed = sightline("collections", "--json").answer["collections"]
    assert [(one["name"], one["live"]) for one in listed] == [("pictures", 2)]
    assert sightline("doctor", "--json").code == 0

    assert sightline("delete", "-c", "pictures", "--id", "b.png", "--json").answer["deleted"] == 1
    found = sightline("search", "red", "-c", "pictures", "--json").answer
    assert [hit["id"] for hit in found["results"]] == ["a.png"]

    listed = sightline("trash", "list", "-c", "pictures", "--json").answer["images"]
    assert [one["id"] for one in listed] == ["b.png", "c.png"], "deleted and pruned"
    done = sightline("trash", "restore", "-c", "pictures", "b.png", "c.png", "nowhere.png", "--json")
    assert (done.code, done.answer["ids"]) == (1, ["b.png", "c.png"])
    found = sightline("search", "red", "-c", "pictures", "--json").answer
    assert {hit["id"] for hit in found["results"]} == {"a.png", "b.png", "c.png"}

    assert sightline("delete", "-c", "pictures", "--filter", "{}").code == 2, "that would be --all"
    sightline("delete", "-c", "pictures", "--id", "c.png")
    assert sightline("trash", "empty", "-c", "pictures", "--all").code == 2, "there is no terminal to ask on"
    assert sightline("trash", "empty", "-c", "pictures", "--all", "--yes", "--json").answer["images"] == 1
    assert sightline("delete", "-c", "pictures", "--id", "b.png", "--purge", "--json").answer["purged"]
    assert sightline("trash", "restore", "-c", "pictures", "b.png").code == 3

    assert sightline("delete", "-c", "pictures", "--all", "--json").answer["deleted"] == 1
    assert sightline("search", "red", "-c", "pictures").code == 3
    assert "pictures" in sightline("trash", "list").stdout
    assert sightline("trash", "restore", "pictures", "--as", "again", "--json").answer["collections"] == [
        "again"
    ]
    found = sightline("search", "red", "-c", "again", "--json").answer
    assert [hit["id"] for hit in found["results"]] == ["a.png"]
    sightline("delete", "-c", "again", "--all")
    assert sightline("trash", "empty", "--all", "--yes", "--json").answer["collections"] == 1
    assert sightline("trash", "list", "--json").answer == {"collections": [], "images": []}


def test_all_comes_back_but_for_collections_whose_name_is_taken(
    sightline: Run, services: Installation, folder: Path
) -> None:
    for _ in range(2):
        services.collections.create("pictures")
        services.catalog.delete_collection("pictures")
    assert sightline("index", str(folder), "-c", "others").code == 0
    sightline("delete", "-c", "others", "--id", "b.png")
    done = sightline("trash", "restore", "--all", "--json")
    assert (done.code, done.answer["collections"], done.answer["images"]) == (1, ["pictures"], 1)
    assert [one["reason"] for one in done.answer["refused"]] == ["name_taken"]


def test_an_unknown_name_takes_no_collection_from_the_others(sightline: Run, services: Installation) -> None:
    for name in ("first", "last"):
        services.collections.create(name)
        services.catalog.delete_collection(name)
    emptied = sightline("trash", "empty", "first", "nowhere", "last", "--yes")
    assert (emptied.code, "'nowhere'" in emptied.stderr) == (3, True)
    assert len(services.catalog.trashed_collections()) == 2, "nothing is given up"
    done = sightline("trash", "restore", "first", "nowhere", "last", "--json")
    assert (done.code, done.answer["collections"]) == (1, ["first", "last"])
    assert [(one["id"], one["reason"]) for one in done.answer["refused"]] == [("nowhere", "not_found")]


def test_registering_only_leaves_the_work_to_workers(
    sightline: Run, settings: Settings, folder: Path
) -> None:
    done = sightline("index", str(folder), "-c", "pictures", "--no-wait", "--json")
    assert done.code == 0
    job = done.answer
    assert (job["pending"], job["state"]) == (3, "running")
    assert processes_of(settings) == []
    assert sightline("jobs", "--json").answer["jobs"][0]["id"] == job["job"]
    assert sightline("jobs", job["job"], "--cancel", "--json").answer["state"] == "cancelled"


def test_everything_failed_is_an_exit_code(sightline: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")  # refused while listing: no worker is needed for that
    done = sightline("index", str(tmp_path / "bad.png"), "-c", "pictures", "--json")
    assert done.code == 1
    assert counts(done) == {"failed": 1}


def test_pictures_can_be_ranked_without_any_collection(
    sightline: Run, folder: Path, settings: Settings
) -> None:
    images = [str(folder / f"{name}.png") for name in "abc"]
    done = sightline("rerank", "red blue", *images, "--json")
    assert done.code == 0, done.stderr
    results = done.answer["results"]
    assert results[0]["image"] == images[0]
    assert {row["image"] for row in results} == set(images)


def test_rerank_keeps_to_the_limits_that_are_set_for_pictures(
    sightline: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sightline("rerank", "red blue", str(folder / "a.png"), "--json").code == 0
    monkeypatch.setenv("SIGHTLINE_IMAGING__MAX_PIXELS", "10")
    done = sightline("rerank", "red blue", str(folder / "a.png"), "--json")
    assert (done.code, "SIGHTLINE_IMAGING__MAX_PIXELS" in json.dumps(done.answer)) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["search", "red", "-c", "nowhere"], 3),
        (["search", "red", "-c", "pictures", "--filter", "{"], 2),
        (["search", "red", "-c", "pictures", "--filter", "[]"], 2),
        (["search", "red", "-c", "pictures", "--no-rerank", "--min-probability", "0.5"], 2),
        (["search", "red", "-c", "pictures", "-k", "0"], 2),
        (["search", "red", "-c", "pictures", "--effort", "some"], 2),
        (["jobs", "no-such-job"], 3),
        (["jobs", "--cancel"], 2),
        (["delete", "-c", "pictures"], 2),
        (["trash", "restore"], 2),
        (["trash", "restore", "nowhere"], 3),
        (["trash", "empty", "a", "--all", "--yes"], 2),
        (["trash", "list", "-c", "nowhere"], 3),
        (["delete", "-c", "nowhere", "--all"], 3),
        (["index", "/no/such/folder", "-c", "pictures"], 2),
        (["index", __file__, "-c", "pictures", "--model", "/no/such/model"], 5),
        (["collections", "--nonsense"], 2),
        (
            [
                "train",
                "--model",
                "x",
                "--captions",
                "y",
                "--images",
                "z",
                "--out",
                "o",
                "--objectives",
                "abc",
            ],
            2,
        ),
        (["train", "--model", "x", "--images", "z", "--out", "o"], 2),
        (["eval", "--captions", "y", "--images", "z", "--k", "many"], 2),
        (["eval", "--data", ".", "--images", "z"], 2),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [] if arguments[0] in ("train", "eval") else ["--data", str(tmp_path)]
    if "--min-probability" in arguments:
        assert run(["migrate", *place]) == 0
        capsys.readouterr()
    assert run([*arguments, *place]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.strip()


def test_search_has_every_field_of_the_record_as_an_option_with_its_default() -> None:
    options = inspect.signature(searching.search).parameters
    assert options["instruction"].default is None  # these two make the matcher
    assert options["instruction_model"].default is None
    assert options["text"].default == ""  # what is typed is a text or a query; a picture needs none
    assert options["literal"].default is False
    for field in fields(SearchRequest):
        if field.name in ("matcher", "text", "query"):
            continue
        if field.name == "index":  # a choice of two: a flag
            assert (field.default, options["exact_index"].default) == ("auto", False)
            continue
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        assert options[field.name].default == default, field.name


def test_a_wrong_source_leaves_no_collection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["index", "/no/such/folder", "-c", "pictures", "--data", str(tmp_path)]) == 2
    capsys.readouterr()
    assert run(["migrate", "--data", str(tmp_path)]) == 0
    assert run(["collections", "--json", "--data", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"collections": []}


def test_with_json_an_error_is_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "red", "-c", "nowhere", "--json", "--data", str(tmp_path)]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "not-found"
    assert "nowhere" in error["message"]


def test_a_collection_keeps_to_its_model(sightline: Run, folder: Path) -> None:
    assert sightline("index", str(folder), "-c", "pictures", "--no-wait").code == 0
    other = sightline("index", str(folder), "-c", "pictures", "--no-wait", "--model", "demo", "--json")
    assert other.code in (2, 4, 5), other.stdout  # 4 with the shipped model, before it is there 5 or 2


def test_a_search_over_lost_files_says_what_is_missing(
    sightline: Run, settings: Settings, folder: Path
) -> None:
    search = ("search", "red", "--collection", "pictures")
    with open_installation(settings, inline=True) as services:
        index(services, folder)
    assert sightline(*search, "--json").answer["degraded"] == []
    for path in settings.segments_folder.glob("*.safetensors"):
        path.unlink()
    for path in settings.generations_folder.glob("*.safetensors"):
        path.unlink()
    done = sightline(*search, "--json")
    assert (done.code, done.answer["results"]) == (0, [])
    assert any(said.startswith("3 images could not be searched") for said in done.answer["degraded"])
    assert "3 images could not be searched" in " ".join(sightline(*search).stderr.split())


def test_the_schema_is_taken_back_and_comes_again(sightline: Run, folder: Path) -> None:
    assert sightline("index", str(folder), "-c", "colours").code == 0
    ended = sightline("migrate", "--to", "0001")
    assert ended.code == 0
    assert "has schema 0001 now" in ended.stderr
    assert "addresses of sources are gone" in ended.stderr
    assert "has schema 0001 already" in sightline("migrate", "--to", "0001").stderr
    assert sightline("migrate").code == 0
    assert sightline("search", "red", "-c", "colours", "--json").answer["results"]
    assert sightline("migrate", "--to", "9").code == 2


@pytest.mark.parametrize("name", ["a file", "a file/below", "/dev/full", "x" * 300])
def test_a_data_folder_that_cannot_be_one_is_bad_input(sightline: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("kept")
    for command in (
        ["collections"],
        ["search", "red", "-c", "x"],
        ["index", str(tmp_path), "-c", "x"],
        ["up"],
    ):
        ended = sightline(*command, "--data", str(tmp_path / name))
        assert (ended.code, ended.stdout) == (2, ""), ended
        assert "The data folder (--data, SIGHTLINE_DATA)" in ended.stderr
    assert (tmp_path / "a file").read_text() == "kept"


def test_an_empty_path_never_means_the_current_folder(
    sightline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert sightline("collections", "--data", "").code == 2
    assert sightline("migrate").code == 0
    assert sightline("backup", "").code == 2
    for name in ("SIGHTLINE_SEGMENTS", "SIGHTLINE_GENERATIONS", "SIGHTLINE_DATA"):
        monkeypatch.setenv(name, "")
        ended = sightline("collections")
        assert (ended.code, f"{name}='' cannot be used: it is empty" in ended.stderr) == (2, True), ended
        monkeypatch.delenv(name)
    assert list(here.iterdir()) == []


def test_a_backup_into_a_file_is_bad_input(sightline: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("kept")
    assert sightline("migrate").code == 0
    ended = sightline("backup", str(tmp_path / "taken"))
    assert ended.code == 2, ended
    assert "is a file; name a folder" in " ".join(ended.stderr.split())
    assert (tmp_path / "taken").read_text() == "kept"
