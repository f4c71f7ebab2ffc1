"""A run leaves the best model so far, whatever ends it and wherever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sightline import training
from sightline.blip.blip2 import Blip2
from sightline.errors import ConflictError, InputError, NoRoomError
from sightline.evaluation.data import prepare_text
from sightline.evaluation.tables import decode
from sightline.training import checkpoints
from sightline.training.best import BestSoFar, read_best
from sightline.training.config import TrainConfig
from sightline.training.data import read_split
from sightline.training.publication import ASIDE, WHOLE, finish, publication
from sightline.training.report import TrainReport
from sightline.types import RGB
from tests.small_disk import small_disk
from tests.training.runs import Interrupted, config, interrupt_at, losses


def score_of(folder: Path, data: Path) -> float:
    """Mean reciprocal rank of both directions by ITM + ITC, pair by pair, with the sampled captions."""
    wanted = config(folder, data, folder)
    pictures = read_split(wanted).val
    drawn = np.random.default_rng([wanted.seed, 4])
    order = sorted(drawn.permutation(range(len(pictures))).tolist())
    texts = [pictures[row].captions[int(drawn.integers(len(pictures[row].captions)))] for row in order]
    model = Blip2(folder, device="cpu")
    images = [image for image in map(decode, pictures) if isinstance(image, np.ndarray)]
    scores = np.array(
        [[pair(model, image, prepare_text(text, wanted.text)) for image in images] for text in texts]
    )
    ranks = [[int((row >= row[at]).sum()) for at, row in enumerate(matrix)] for matrix in (scores, scores.T)]
    return float(np.mean([np.mean([1 / rank for rank in one]) for one in ranks]))


def pair(model: Blip2, image: RGB, text: str) -> float:
    patches = model.encode_patches(model.preprocess([image]))
    itc = (model.encode_image(patches)[0] @ model.encode_text([text])[0]).max()
    return float(model.match([text], patches)[0, 1] + itc)


def test_an_interrupted_run_leaves_the_best_model_so_far_and_ends_as_if_it_had_never_been(
    finished: tuple[TrainConfig, TrainReport], data: Path, tmp_path: Path
) -> None:
    whole, report = finished
    wanted = replace(whole, out=tmp_path / "model")
    with pytest.raises(Interrupted):
        training.run(wanted, interrupt_at(7))
    best = read_best(wanted.out)
    assert best is not None
    assert [step for step, _ in best.scores] == [0, 2, 4, 6]
    assert (best.score, best.step) == max((score, step) for step, score in best.scores)
    assert score_of(wanted.out, data) == pytest.approx(best.score, abs=1e-9)
    with pytest.raises(ConflictError, match="already holds a run"):
        training.run(wanted)
    assert training.run(replace(wanted, resume=True)).best == report.best
    assert losses(wanted.out) == losses(whole.out)
    one, other = (load_file(out / "model.safetensors") for out in (wanted.out, whole.out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_a_model_that_is_no_worse_is_published_and_what_is_no_number_never(tmp_path: Path) -> None:
    scores: Iterator[float] = iter([0.5, float("nan"), 0.4, 0.5, 0.7])
    published: list[int] = []

    def publish(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        published.append(json.loads(text)["step"])

    best = BestSoFar(tmp_path, {"lr": 1.0}, lambda: next(scores), publish)
    best.open()
    assert [best.consider(step) for step in (10, 20, 30, 40)] == [False, False, True, True]
    assert published == [0, 30, 40]
    found = read_best(tmp_path)
    assert found is not None
    assert (found.step, found.score, found.settings) == (40, 0.7, {"lr": 1.0})
    again = BestSoFar(tmp_path, {"lr": 1.0}, lambda: 0.6, publish)
    again.open()  # asks for no score: there is a best
    assert again.consider(30) is False
    assert again.best is not None
    assert [step for step, _ in again.best.scores] == [0, 10, 20, 30]
    assert published == [0, 30, 40]


def test_a_publication_is_there_whole_or_not_at_all_wherever_its_writer_is_killed(tmp_path: Path) -> None:
    with publication(tmp_path) as aside:
        (aside / "model.safetensors").write_text("old")
        (aside / "best.json").write_text("old")
    (tmp_path / "losses.jsonl").write_text("kept")
    half = tmp_path / ASIDE  # killed while it wrote
    half.mkdir()
    (half / "model.safetensors").write_text("ne")
    finish(tmp_path)
    assert contents(tmp_path) == {"model.safetensors": "old", "best.json": "old", "losses.jsonl": "kept"}
    whole = tmp_path / WHOLE  # killed while it moved: one file was already in its place
    whole.mkdir()
    (whole / "model.safetensors").write_text("new")
    (tmp_path / "best.json").write_text("new")
    finish(tmp_path)
    assert contents(tmp_path) == {"model.safetensors": "new", "best.json": "new", "losses.jsonl": "kept"}
    with publication(tmp_path) as aside:
        (aside / "model.safetensors").write_text("newer")
    assert contents(tmp_path)["model.safetensors"] == "newer"
    assert not whole.exists()
    assert not half.exists()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_a_full_disk_ends_in_a_sentence_and_leaves_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        out = disk.folder / "model"
        with publication(out) as aside:
            save_file({"a": torch.ones(1000)}, aside / "model.safetensors")
        checkpoints.save(out / "checkpoints", 1, {"a": torch.ones(1000)}, {}, {})
        for size in (300_000, 1_000_000):  # torch's writer fails, then safetensors'
            big = {"a": torch.ones(size)}
            with pytest.raises(NoRoomError, match="disk is full at"):
                publish_twice(out, big)
            with pytest.raises(NoRoomError, match="disk is full at"):
                checkpoints.save(out / "checkpoints", 2, big, {"moments": torch.ones(size)}, {})
        assert sorted(path.name for path in out.iterdir()) == ["checkpoints", "model.safetensors"]
        assert load_file(out / "model.safetensors")["a"].shape == (1000,)
        assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000001"]
        found = checkpoints.latest(out / "checkpoints")
        assert found is not None
        assert found.weights()["a"].sum() == 1000


def publish_twice(out: Path, tensors: dict[str, torch.Tensor]) -> None:
    with publication(out) as aside:
        save_file(tensors, aside / "model.safetensors")
        save_file(tensors, aside / "itg_head.safetensors")


def test_no_other_model_is_replaced(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name another folder as --out"):
        training.run(replace(config(checkpoint, data, checkpoint), resume=True))
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(ConflictError, match="already holds a model"):
        training.run(config(checkpoint, data, tmp_path))
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine"


def test_a_run_that_the_disk_has_no_room_for_is_refused_before_anything_is_written(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        wanted = config(checkpoint, data, disk.folder / "model")
        with pytest.raises(
            NoRoomError, match=r"too small: .* are needed .*checkpoints .* are free; free some"
        ):
            training.run(wanted)
        assert list(disk.folder.iterdir()) == []
