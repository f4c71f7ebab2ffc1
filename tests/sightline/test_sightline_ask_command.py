"""``sightline ask``: a line for each picture, one JSON document, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.wiring import Installation
from tests.sightline.conftest import Run, index, save


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name, quarters in {"a": ("red", "red", "blue", "red"), "b": ("green",)}.items():
        save(folder, name, *quarters)
    return folder


def test_a_line_for_each_file_and_a_broken_one_costs_its_neighbours_nothing(
    sightline: Run, files: Path
) -> None:
    (files / "broken.png").write_text("no picture")
    paths = [str(files / name) for name in ("a.png", "broken.png", "b.png")]
    done = sightline("ask", "how many red?", *paths, "--task", "counting")
    assert done.code == 1
    first, second, third = done.stdout.splitlines()
    assert first == f"0.750  {paths[0]}: 3"
    assert second.startswith(f"    –  {paths[1]}: ")
    assert second.endswith(".")
    assert third == f"0.750  {paths[2]}: 0"


def test_a_collection_is_asked_by_ids_and_by_search(
    sightline: Run, services: Installation, files: Path
) -> None:
    index(services, files)
    collection = ("--collection", "pictures", "--json")
    by_id = sightline(
        "ask", "how many red?", *collection, "--id", "b.png", "--id", "a.png", "--task", "counting"
    )
    assert by_id.code == 0
    rows = by_id.answer["results"]
    assert [(row["id"], row["answer"], row["match_probability"]) for row in rows] == [
        ("b.png", "0", None),
        ("a.png", "3", None),
    ]
    found = sightline("search", "red", *collection, "-k", "1").answer["results"][0]
    asked = sightline(
        "ask", "is it blue?", *collection, "--text", "red", "-k", "1", "--task", "yes_no"
    ).answer
    [row] = asked["results"]
    assert row["id"] == found["id"] == "a.png"
    assert row["match_probability"] == found["match_probability"]
    assert row["answer"] == "yes"
    assert [option["text"] for option in row["options"]] == ["yes", "no"]
    assert asked["model"] == "toy"
    assert asked["prompt"] == "Question: is it blue? Answer yes or no:"


def test_options_make_it_a_choice(sightline: Run, files: Path) -> None:
    command = ("ask", "what colour is it?", str(files / "b.png"), "--wording", "plain")
    done = sightline(*command, "--option", "red", "--option", "green", "--json")
    [row] = done.answer["results"]
    assert (done.answer["task"], row["answer"]) == ("multiple_choice", "green")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["what?"], 2, "No picture"),
        (["what?", "a.png", "-c", "pictures"], 2, "not about both"),
        (["what?", "a.png", "--text", "red"], 2, "--collection"),
        (["what?", "-c", "pictures"], 2, "one of the two"),
        (["what?", "-c", "nothing", "--text", "red"], 3, "nothing"),
        (["what?", "a.png", "--task", "dance"], 2, "no task"),
        (["what?", "a.png", "--wording", "99"], 2, "no wording 99"),
        (["what?", "a.png", "--option", "a"], 2, "2 to 50 options"),
        (["", "a.png"], 2, "question is empty"),
        (["what?", "a.png", "--model", "nobody/nothing"], 5, "nobody/nothing"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    sightline: Run, arguments: list[str], code: int, said: str
) -> None:
    if said == "one of the two":
        assert sightline("migrate").code == 0
    done = sightline("ask", *arguments)
    assert (done.code, done.stdout) == (code, "")
    assert said in done.stderr
