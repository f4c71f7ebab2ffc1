"""The demo collection: its size, what its queries match, their near misses, and the files written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from demo.world.collection import NEAR_MISSES, collect, main, queries, write
from demo.world.scene import Scene
from demo.world.sentences import satisfies
from demo.world.splits import split_of


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return collect()


def test_there_are_twelve_queries_and_only_the_last_matches_nothing(scenes: list[Scene]) -> None:
    counts = [sum(satisfies(scene, query.sentence) for scene in scenes) for query in queries()]
    assert len(scenes) == 500
    assert len(counts) == 12
    assert counts == [5] * 11 + [0]


def test_every_query_has_many_near_misses(scenes: list[Scene]) -> None:
    for query in queries():
        kinds = {phrase.kind for phrase in query.sentence.phrases}
        near = [s for s in scenes if kinds <= {t.kind for t in s.things} and not satisfies(s, query.sentence)]
        assert len(near) >= NEAR_MISSES


def test_what_nothing_matches_is_made_of_what_occurs(scenes: list[Scene]) -> None:
    phrase = queries()[-1].sentence.phrases[0]
    assert sum(phrase.kind in {t.kind for t in s.things} for s in scenes) >= 20
    assert sum(phrase.colour in {t.colour for t in s.things} for s in scenes) >= 20


def test_pictures_are_of_the_test_split_and_all_different(scenes: list[Scene]) -> None:
    assert {split_of(scene) for scene in scenes} == {"test"}
    assert len({(s.setting, s.things) for s in scenes}) == 500


def test_written_files_agree_with_each_other(scenes: list[Scene], tmp_path: Path) -> None:
    write(tmp_path, scenes[:12])
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"picture-{n:03d}" for n in range(1, 13)]
    for row in rows:
        with Image.open(tmp_path / row["uri"]) as picture:
            assert picture.size == (384, 384)
        assert row["caption"]
        assert row["count"] >= len(row["kinds"])
    asked = json.loads((tmp_path / "queries.json").read_text())
    assert asked[0]["text"] == "a red car and a blue house"
    assert {name for query in asked for name in query["relevant"]} <= {row["id"] for row in rows}


def test_command_without_a_folder_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
