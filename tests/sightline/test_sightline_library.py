"""The programs in docs/ and README.md run as they stand, with another model's name in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.queries import Query
from tests.sightline.conftest import ROOT, picture, save

BIG = '"Salesforce/blip2-itm-vit-g"'
BENEATH = 4
"""The block that begins the layer beneath: before it are three of collections and one of rerankers."""
trained = pytest.mark.skipif(
    not (DEMO_FOLDER / "model.safetensors").exists(), reason="the model is not trained yet"
)


def programs(page: str, model: str) -> list[str]:
    """The Python blocks of a page, with ``model`` in place of the names in them."""
    text = (ROOT / page).read_text()
    return [block.replace(BIG, repr(model)) for block in re.findall(r"```python\n(.*?)```", text, re.S)]


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the programs name."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/one", "photos/two", "beach", "street", "a", "b"):
        save(tmp_path, name, "red", "blue").rename(tmp_path / f"{name}.jpg")


def test_a_collection_its_tables_and_many_texts(capsys: pytest.CaptureFixture[str]) -> None:
    together = "\n".join(programs("docs/library.md", "unused")[:3]).replace('"demo"', '"toy"')
    exec(compile(together, "docs/library.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("one.jpg") == printed.count("two.jpg") == 3
    assert "street.jpg" in printed


def test_indexing_and_searching_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    searching, _, watching, steps = programs("docs/library.md", "unused")[BENEATH : BENEATH + 4]
    together = (searching + watching + steps).replace('"demo"', '"toy"')
    exec(compile(together, "docs/library.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("2 0\n")
    assert printed.count("one.jpg") == printed.count("two.jpg") == 4
    by_itc, order = printed.splitlines()[3:5]
    assert by_itc.startswith("by ITC: [")
    assert order.startswith("2 of 2: [")


def test_clauses_and_saved_searches(capsys: pytest.CaptureFixture[str]) -> None:
    searching, clauses, _, _, saved = programs("docs/library.md", "unused")[BENEATH : BENEATH + 5]
    together = (searching + clauses + saved).replace('"demo"', '"toy"')
    names: dict[str, object] = {}
    exec(compile(together, "docs/library.md", "exec"), names)
    assert isinstance(names["asked"], Query)
    assert capsys.readouterr().out.count(".jpg") >= 4


def test_captions_filtered_and_exported(capsys: pytest.CaptureFixture[str]) -> None:
    searching = programs("docs/library.md", "unused")[BENEATH]
    [captions] = programs("docs/captions.md", "unused")
    together = (searching + captions).replace('"demo"', '"toy"')
    exec(compile(together, "docs/captions.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == ["2", "captioner 2 0"]
    assert Path("pairs.jsonl").read_text().count('"captions": ["red top left"') == 2


@trained
def test_reranking_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    reranking = programs("docs/library.md", str(DEMO_FOLDER))[BENEATH - 1]
    exec(compile(reranking, "docs/library.md", "exec"), {})
    assert capsys.readouterr().out.count(".jpg") == 2
    (readme,) = programs("README.md", str(DEMO_FOLDER))
    readme = readme.replace('"~/Pictures"', '"photos"').replace('"b.heic"', '"b.jpg"')
    readme = readme.replace('Collection("pictures")', 'Collection("pictures", data="data", model="demo")')
    names: dict[str, Any] = {}
    exec(compile(readme, "README.md", "exec"), names)
    assert sorted(hit.id for hit in names["hits"]) == ["one.jpg", "two.jpg"]
    assert sorted(hit["corpus_id"] for hit in names["ranks"]) == [0, 1]


@trained
def test_the_model_alone() -> None:
    namespace = {"rgb": picture("red", side=64)}
    model = programs("docs/library.md", str(DEMO_FOLDER))[-1].replace(', dtype="bfloat16"', "")
    exec(compile(model, "docs/library.md", "exec"), namespace)
    assert tuple(namespace["logits"].shape) == (1, 2)
