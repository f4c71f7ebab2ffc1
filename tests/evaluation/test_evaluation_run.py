"""Whole evaluations: files to report; and tables of rows on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file

from sightline import evaluation
from sightline.blip import load
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.random_weights_blip import write_random_blip
from sightline.blip.toy import ToyEncoder
from sightline.errors import InputError, ModelUnavailableError, NoRoomError
from sightline.evaluation.comparisons import MEASURES
from sightline.evaluation.config import EvalConfig
from sightline.evaluation.data import DataProblem, read_pictures, retrieval_set
from sightline.evaluation.evaluator import evaluate
from sightline.evaluation.report import EvalReport, Row
from sightline.evaluation.tables import BROKEN, MISSING, WRITTEN, PictureTable, fill, identity
from sightline.store.room import size
from tests.small_disk import small_disk

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pictures of one colour, each told by two captions, and one that is no picture."""
    rows = []
    for name, colour in COLOURS.items():
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
        rows.append({"image": f"{name}.png", "captions": [f"{name}", f"a {name} picture"]})
    (tmp_path / "broken.png").write_bytes(b"no picture at all")
    rows.append({"image": "broken.png", "captions": ["purple"]})
    (tmp_path / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


def wanted(data: Path) -> EvalConfig:
    return EvalConfig(data / "captions.jsonl", data, "toy", ks=(2, 4), batch_size=3)


def test_the_toy_finds_every_colour_and_the_broken_picture_is_listed(data: Path) -> None:
    config = wanted(data)
    pictures = read_pictures(config.data, config.images)
    report = evaluate(ToyEncoder(), retrieval_set("toy", "all", pictures.pictures), config)
    assert (report.images, report.texts) == (4, 8)
    assert [(problem.where, problem.reason) for problem in report.problems] == [
        ("broken.png", "not_an_image")
    ]
    assert [(row.score, row.k) for row in report.rows] == [
        ("itc", None), ("itm", 2), ("itm", 4), ("itm+itc", 2), ("itm+itc", 4),
    ]  # fmt: skip
    assert all(row.text_to_image[1] == 1.0 and row.image_to_text[1] == 1.0 for row in report.rows)
    over_chance = {(one.side, one.score, one.k): one.differences["R@1"].mean for one in report.comparisons}
    assert over_chance["text_to_image", "itc", None] == 1 - 1 / 4, "one picture of four is right"
    assert over_chance["text_to_image", "itm", 2] == 1 - 1 / 2, "… of two candidates"
    assert over_chance["image_to_text", "itc", None] == pytest.approx(1 - 2 / 8), (
        "two texts of eight are right"
    )
    assert over_chance["image_to_text", "itm", 4] == pytest.approx(1 - 2 / 4), "… of four candidates"
    assert over_chance["text_to_image", "itm+itc", 4] == 0, "and ITC has found them all"
    assert report.row("itm+itc", 4).text_to_image_seconds > report.row("itm+itc", 2).text_to_image_seconds > 0


def test_an_itm_that_says_the_same_of_all_is_neither_better_nor_worse_than_itc(data: Path) -> None:
    folder = write_random_checkpoint(data / "model")
    weights = load_file(folder / "model.safetensors")
    silent = {name: torch.zeros_like(one) if "itm_head" in name else one for name, one in weights.items()}
    save_file(silent, folder / "model.safetensors")
    report = evaluation.run(replace(wanted(data), model=str(folder), ks=(2,), device="cpu"))
    assert report.answers is not None
    itc, *_, both = report.answers.text_to_image
    assert both != itc, "what is right and no candidate stands elsewhere"
    against_itc = [one for one in report.comparisons if one.against == "itc"]
    assert [one.side for one in against_itc] == ["text_to_image", "image_to_text"]
    for one in against_itc:
        assert {name: (d.mean, d.low, d.high) for name, d in one.differences.items()} == dict.fromkeys(
            MEASURES, (0.0, 0.0, 0.0)
        )


@pytest.mark.parametrize("write", [write_random_checkpoint, write_random_blip])
def test_a_checkpoint_folder_is_evaluated_into_table_json_markdown_and_plot(
    data: Path, write: Callable[[Path], Path]
) -> None:
    folder = write(data / "model")
    config = replace(wanted(data), model=str(folder), out=data / "out", device="cpu")
    stages: set[str] = set()
    report = evaluation.run(config, lambda stage, done, total: stages.add(stage))
    assert stages == {"encode pictures", "image tokens", "text → image", "image → text"}
    assert report.fingerprint == load(str(folder), device="cpu").fingerprint
    saved = json.loads((data / "out" / "report.json").read_text())
    assert EvalReport.from_json(saved) == report
    assert (data / "out" / "recall.png").stat().st_size > 10_000
    markdown = (data / "out" / "report.md").read_text()
    assert markdown.count("| itm+itc | 2 |") == markdown.count("| itm+itc | 4 |") == 2
    assert markdown.count("| itm+itc | itc | ") == 4
    assert "broken.png: not_an_image" in markdown


def test_a_model_is_evaluated_by_the_name_that_it_has_elsewhere(data: Path) -> None:
    report = evaluation.run(wanted(data))
    assert (report.model, report.fingerprint) == ("toy", ToyEncoder.fingerprint)
    assert all(row.text_to_image[1] == 1.0 for row in report.rows)
    if (DEMO_FOLDER / "model.safetensors").exists():
        report = evaluation.run(replace(wanted(data), model="demo", ks=(), device="cpu"))
        assert (report.model, report.fingerprint) == ("demo", load("demo", device="cpu").fingerprint)


def test_what_cannot_be_evaluated_is_refused(data: Path) -> None:
    with pytest.raises(ModelUnavailableError):
        evaluation.run(replace(wanted(data), model="./nowhere"))
    config = wanted(data)
    broken = [p for p in read_pictures(config.data, config.images).pictures if p.name == "broken.png"]
    with pytest.raises(InputError, match="None of the 1 pictures could be decoded"):
        evaluate(ToyEncoder(), retrieval_set("toy", "all", broken), config)


def report_of(model: str, dataset: str, images: int, split: str = "test") -> EvalReport:
    shares = {1: 0.5, 5: 0.6, 10: 0.7}
    rows = (Row("itc", None, shares, shares, 0.001, 0.0), Row("itm+itc", 128, shares, shares, 0.1, 0.1))
    return EvalReport(model, "f", dataset, split, images, 5 * images, "lavis", "cpu", rows, ((0.4, 0.6),) * 2)


def table_text(report: EvalReport) -> str:
    out = io.StringIO()
    report.render(Console(file=out, width=200))
    return out.getvalue()


def test_the_paper_stands_beside_ours_only_for_its_checkpoint_data_and_split() -> None:
    text = table_text(report_of("Salesforce/blip2-itm-vit-g-coco", "coco", 5000))
    assert [line.split() for line in text.splitlines() if line.split()[:1] == ["paper"]] == [
        ["paper", "128", "68.3", "87.7", "92.6", "–", "–"],
        ["paper", "128", "85.4", "–", "–", "–", "–"],
    ]
    assert "89.7" in table_text(report_of("/models/blip2-itm-vit-g-coco", "flickr30k", 1000))
    for other in (
        report_of("Salesforce/blip2-itm-vit-g", "coco", 5000),
        report_of("Salesforce/blip2-itm-vit-g-coco", "flickr8k", 1000),
        report_of("Salesforce/blip2-itm-vit-g-coco", "coco", 100),
        report_of("Salesforce/blip2-itm-vit-g-coco", "coco", 5000, "val"),
    ):
        assert other.paper() is None
        assert "paper" not in table_text(other)


def test_a_disk_without_room_for_the_patches_is_told_before_anything_is_written(
    data: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    config = replace(wanted(data), cache=tmp_path / "cache")
    dataset = retrieval_set("toy", "all", read_pictures(config.data, config.images).pictures)
    evaluate(ToyEncoder(), dataset, config, on_remark=said.append)
    room = len(dataset.pictures) * int(np.prod(ToyEncoder.patch_shape)) * 2
    assert said[0].startswith(f"Up to {size(room)} will be written (patches {size(room)}) on the disk of ")
    evaluate(ToyEncoder(), dataset, config, on_remark=said.append)
    assert len(said) == 1, "the cache is kept: nothing more is to be written"
    with small_disk(tmp_path / "disk", 64) as disk:
        disk.fill()
        with pytest.raises(NoRoomError, match=r"too small: .* are needed .* 0 bytes are free; .*--cache\.$"):
            evaluate(ToyEncoder(), dataset, replace(config, cache=disk.folder / "cache"))
        assert not (disk.folder / "cache").exists()


def test_a_table_takes_its_room_when_it_is_made_so_that_no_write_to_it_meets_a_full_disk(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        with pytest.raises(NoRoomError, match="disk is full"):
            PictureTable(disk.folder, "too many", 1000, (32, 32, 3), "uint8")
        assert not list(disk.folder.rglob("rows.npy"))
        table = PictureTable(disk.folder, "some", 100, (32, 32, 3), "uint8")
        disk.fill()
        table.write(list(range(100)), np.full((100, 32, 32, 3), 7, dtype=np.uint8))
        assert table.rows(WRITTEN) == list(range(100))


def test_a_table_goes_on_where_a_killed_run_left_it(data: Path, tmp_path: Path) -> None:
    config = wanted(data)
    pictures = read_pictures(config.data, config.images).pictures
    name = identity(pictures, "model")
    encoded: list[int] = []

    def encode(
        images: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        encoded.extend(int(image.sum()) for image in images)
        return np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)

    first = PictureTable(tmp_path / "cache", name, len(pictures), (3,))
    first.write([0, 2], np.array([[1, 2, 3], [4, 5, 6]]))
    again = PictureTable(tmp_path / "cache", name, len(pictures), (3,))
    assert again.rows(WRITTEN) == [0, 2]
    fill(again, pictures, encode, batch_size=2)
    assert len(encoded) == 2
    assert (again.rows(WRITTEN), again.rows(BROKEN), again.rows(MISSING)) == ([0, 1, 2, 3], [4], [])
    torch.testing.assert_close(again.view([2, 3]).read([1, 0]), torch.tensor([[255.0, 255, 0], [4, 5, 6]]))
    assert again.problems() == first.problems()
    assert isinstance(again.problems()[0], DataProblem)
    other = PictureTable(tmp_path / "cache", identity(pictures, "another model"), len(pictures), (3,))
    assert other.rows(WRITTEN) == []
