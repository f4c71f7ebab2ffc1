"""``sightline cache``: the report measures what it says on the collection's own pictures and captions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.blip.random_weights import write_random_checkpoint
from sightline.settings import Settings
from sightline.wiring import open_installation
from tests.sightline.conftest import Run

WORDS = ["red", "green", "blue", "two", "three", "dog", "cat", "car", "house", "beach", "tree", "bird"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture
def settings(tmp_path: Path, checkpoint: Path) -> Settings:
    empty = Settings(data=tmp_path / "data")
    return empty.model_copy(update={"model": replace(empty.model, name=str(checkpoint))})


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """Thirty pictures, indexed with captions."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for number in range(30):
        rng = np.random.default_rng(number)
        rgb = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        rgb.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number:03d}.png")
        caption = " ".join(["a", *rng.choice(WORDS, 4).tolist()])
        lines.append(json.dumps({"uri": f"{number:03d}.png", "caption": caption}))
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(lines))
    with open_installation(settings, inline=True) as services:
        services.collections.create("pictures")
        job = services.indexer.index([str(manifest)], "pictures")
        services.indexer.wait(job.id, timeout=60)
    return folder


def test_the_report_measures_each_level_on_captions_of_the_collection(folder: Path, sightline: Run) -> None:
    ended = sightline("cache", "report", "-c", "pictures", "--ranks", "48,8,2", "--plain", "--json")
    assert ended.code == 0, ended.stderr
    answer = ended.answer
    assert (answer["images"], answer["candidates"], answer["fitted_to"]) == (15, 15, 15)
    assert (answer["queries"], answer["encoded_again"]) == (15, 0)
    assert answer["cascade"]["missing"] == "A cascade needs 40 queries to learn from; there are 30."
    levels = {(one["level"], one["rank"]): one for one in answer["levels"]}
    assert list(levels) == [("fp16", None), ("int8", None), ("latent", 48), ("latent", 8), ("latent", 2)]
    assert levels["fp16", None]["bytes_per_image"] == 17 * 48 * 2
    assert levels["latent", 8]["bytes_per_image"] == 17 * 10
    assert levels["latent", 8]["times_smaller"] == pytest.approx(9.6)
    assert levels["fp16", None]["fidelity"]["tau"] == 1.0, "the reference was read from fp16"
    errors = [one["fidelity"]["logit_error"] for one in answer["levels"]]
    assert errors[0] == 0.0
    assert 0.0 < errors[1] < errors[3] < errors[4]
    assert 0.0 < errors[2] < errors[3]
    assert levels["latent", 48]["fidelity"]["tau"] > levels["latent", 2]["fidelity"]["tau"]
    table = sightline("cache", "report", "-c", "pictures", "--ranks", "8", "--plain")
    assert table.code == 0
    assert "latent 8" in table.stdout
    assert "9.6×" in table.stdout


def test_a_fitted_codec_is_reported_and_used_by_new_images(
    folder: Path, sightline: Run, settings: Settings
) -> None:
    ended = sightline("cache", "fit", "-c", "pictures", "--rank", "10", "--grid", "--images", "20", "--json")
    assert ended.code == 0, ended.stderr
    codec = ended.answer["codec"]
    assert (ended.answer["rank"], ended.answer["grid"], ended.answer["images"]) == (40, True, 20)
    answer = sightline("cache", "report", "-c", "pictures", "--json").answer
    assert [one["codec"] for one in answer["levels"]] == [None, None, codec]
    assert answer["fitted_to"] == 0
    latent = settings.model_copy(update={"indexer": replace(settings.indexer, patch_codec="latent")})
    with open_installation(latent, inline=True) as services:
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / "black.png")
        job = services.indexer.index([str(folder / "black.png")], "pictures")
        services.indexer.wait(job.id, timeout=60)
        key = services.catalog.image("pictures", "black.png").key
        assert services.catalog.locations([key])[key].codec == codec


def test_originals_are_encoded_again_when_no_patches_are_kept(
    folder: Path, sightline: Run, settings: Settings, tmp_path: Path
) -> None:
    bare = settings.model_copy(update={"indexer": replace(settings.indexer, patch_codec="none")})
    with open_installation(bare, inline=True) as services:
        services.collections.create("bare")
        job = services.indexer.index([str(folder)], "bare")
        services.indexer.wait(job.id, timeout=60)
    (folder / "003.png").unlink()
    queries = tmp_path / "queries.txt"
    queries.write_text("a red dog\n\ntwo cats\n")
    ended = sightline("cache", "report", "-c", "bare", "--queries", str(queries), "--json")
    assert ended.code == 0, ended.stderr
    answer = ended.answer
    assert answer["queries"] == 2
    assert answer["images"] in (14, 15)
    assert answer["encoded_again"] >= answer["images"] + answer["fitted_to"] >= 29
    assert 0.0 < answer["levels"][0]["fidelity"]["logit_error"] < 1e-2, "fp16 against fp32"


def test_what_cannot_be_measured_is_said_in_a_sentence(folder: Path, sightline: Run) -> None:
    for arguments, says in {
        ("-c", "nothing"): "nothing",
        ("-c", "pictures", "--ranks", "x"): "--ranks",
        ("-c", "pictures", "--ranks", "49"): "rank",
        ("-c", "pictures", "--queries", "/no/such/file"): "cannot be read",
    }.items():
        ended = sightline("cache", "report", *arguments, "--json")
        assert ended.code in (2, 3)
        assert says in ended.answer["error"]["message"]
