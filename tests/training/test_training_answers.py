"""Stage 2 and instruction tuning on tiny random checkpoints: the loss is stock's, and a killed run goes on
exactly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sightline import training
from sightline.blip.random_weights_language import write_random_blip2_writer, write_random_instructblip
from sightline.errors import CheckpointError, ConflictError, InputError
from sightline.training.answer_batches import Packer
from sightline.training.answer_config import AnswerConfig
from sightline.training.answer_weights import load_stock
from sightline.training.answering import AnswerBatch, AnswerLearner
from sightline.training.losses import read_losses

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0)}
WRITERS: dict[str, Callable[[Path], Path]] = {
    "blip2-opt": lambda folder: write_random_blip2_writer(folder, "opt"),
    "blip2-t5": lambda folder: write_random_blip2_writer(folder, "t5"),
    "instructblip-opt": lambda folder: write_random_instructblip(folder, "opt"),
    "instructblip-t5": lambda folder: write_random_instructblip(folder, "t5"),
    "instructblip-llama": lambda folder: write_random_instructblip(folder, "llama"),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: write(root / name) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures of one colour each, with captions and with questions; some rows that cannot be used."""
    folder = tmp_path_factory.mktemp("data")
    captions: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    for number in range(12):
        name, colour = list(COLOURS.items())[number % 3]
        pixels = np.full((24, 24, 3), colour, dtype=np.uint8)
        pixels[number : number + 4] = 128
        Image.fromarray(pixels).save(folder / f"{number}.png")
        row = {"image": f"{number}.png", "split": "train" if number < 9 else "val"}
        captions.append({**row, "captions": [f"a {name} house on the left", f"the {name} dog"]})
        questions.append({**row, "question": "what colour is the house?", "answer": name})
        questions.append({**row, "question": "is there a house?", "answers": ["yes", "two"]})
    questions += [{"image": "gone.png", "question": "what?", "answer": "a dog"}]
    questions += [{"image": "0.png", "question": "what?", "answer": " "}, {"image": "0.png"}]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, captions)))
    (folder / "questions.jsonl").write_text("\n".join([*map(json.dumps, questions), "{no json"]))
    return folder


def config(checkpoint: Path, data: Path, out: Path, stage: Any = "instruct") -> AnswerConfig:
    return AnswerConfig(
        stage=stage,
        model=str(checkpoint),
        data=data / ("captions.jsonl" if stage == "2" else "questions.jsonl"),
        images=data,
        out=out,
        epochs=2,
        batch_size=4,
        lr=1e-3,
        device="cpu",
    )


@pytest.fixture(scope="module")
def finished(
    checkpoints: dict[str, Path], data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AnswerConfig, Any]:
    wanted = config(checkpoints["instructblip-opt"], data, tmp_path_factory.mktemp("out") / "model")
    return wanted, training.run_answers(wanted)


def packer_of(checkpoint: Path, data: Path, out: Path) -> Packer:
    from sightline.training.answer_data import AnswerSplit
    from sightline.training.answer_trainer import _AnswerTrainer
    from sightline.training.trainer import Listener

    wanted = config(checkpoint, data, out)
    trainer = _AnswerTrainer(wanted, None, checkpoint, AnswerSplit((), (), "", ()), Listener(), 0.0)
    learner = AnswerLearner(load_stock(checkpoint))
    return trainer._packer(trainer._writer_config(learner), learner)


def stock_loss(stock: Any, batch: AnswerBatch, pixels: torch.Tensor) -> torch.Tensor:
    inputs: dict[str, Any] = {
        "pixel_values": pixels,
        "input_ids": batch.ids,
        "attention_mask": batch.valid,
        "labels": batch.labels,
    }
    if batch.qformer_ids.shape[1]:
        inputs |= {"qformer_input_ids": batch.qformer_ids, "qformer_attention_mask": batch.qformer_valid}
    return stock(**inputs).loss  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", list(WRITERS))
def test_the_loss_is_that_of_stock_transformers_from_pixels(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path, kind: str
) -> None:
    stock = load_stock(checkpoints[kind]).eval()
    learner = AnswerLearner(stock).eval()
    packer = packer_of(checkpoints[kind], data, tmp_path)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        patches = stock.vision_model(pixels).last_hidden_state
        prompts = ["what colour is the house?", "", "Question: is there a dog? Short answer:"]
        batch = packer.pack(patches, prompts, ["red", "a red dog on the beach", "yes"])
        ours, theirs = learner.loss(batch), stock_loss(stock, batch, pixels)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_only_answers_are_labels_and_every_picture_has_its_placeholders(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    packer = packer_of(checkpoints["instructblip-opt"], data, tmp_path)
    batch = packer.pack(
        torch.zeros(2, 17, 48), ["what colour is the house?", "a dog"], ["red", "two blue cars"]
    )
    assert ((batch.ids == packer.image).sum(dim=1) == packer.queries).all()
    for row, answer in enumerate(("red", "two blue cars")):
        labelled = batch.labels[row][batch.labels[row] >= 0].tolist()
        assert labelled[-1] == packer.end
        assert packer.words.decode(labelled[:-1]) == answer
        start = batch.labels.shape[1] - int((batch.labels[row].flip(0) >= 0).long().argmax()) - len(labelled)
        assert batch.ids[row, start : start + len(labelled)].tolist() == labelled


def test_the_language_model_and_the_image_encoder_are_copied_and_the_rest_moves(
    finished: tuple[AnswerConfig, Any], checkpoints: dict[str, Path]
) -> None:
    old, new = (
        load_file(folder / "model.safetensors")
        for folder in (checkpoints["instructblip-opt"], finished[0].out)
    )
    assert set(old) == set(new)
    same = {name for name in old if torch.equal(old[name], new[name])}
    assert {name for name in old if name.startswith(("vision_model.", "language_model."))} <= same
    assert not {"query_tokens", "language_projection.weight"} & same


def test_the_result_answers_in_the_product_and_is_better_than_before(
    finished: tuple[AnswerConfig, Any],
) -> None:
    from sightline.blip import load
    from sightline.blip.protocols import answering

    wanted, report = finished
    assert report.after.loss < report.before.loss
    assert (report.examples, report.measured, report.measured_examples) == (18, "val", 6)
    model = answering(load(str(wanted.out), device="cpu", role="asking"), "trained")
    patches = model.encode_patches(model.preprocess([np.zeros((24, 24, 3), np.uint8)]))
    said = model.answer(model.features(patches), ["what colour is the house?"], model.sampling("greedy"))
    assert 0 <= said[0].probability <= 1
    assert "answers exactly right" in (wanted.out / "report.md").read_text()


def test_rows_that_cannot_be_used_are_listed(finished: tuple[AnswerConfig, Any]) -> None:
    found = {(problem.where, problem.reason) for problem in finished[1].problems}
    assert found == {("gone.png", "missing"), ("0.png", "question"), ("line 27", "row"), ("line 28", "row")}


class InterruptedError_(Exception):
    """Stands for the end of a process."""


def interrupt_at(step: int) -> Any:
    def on_progress(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == step:
            raise InterruptedError_

    return on_progress


@pytest.mark.parametrize("kind", ["instructblip-opt", "blip2-t5"])
def test_a_resumed_run_has_the_losses_and_the_weights_of_an_uninterrupted_one(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path, kind: str
) -> None:
    stage = "2" if kind.startswith("blip2") else "instruct"
    whole = config(checkpoints[kind], data, tmp_path / "whole", stage)
    training.run_answers(whole)
    wanted = replace(whole, out=tmp_path / "model", checkpoint_steps=2, resume=True)
    for step in (3, 4):
        with pytest.raises(InterruptedError_):
            training.run_answers(wanted, interrupt_at(step))
    training.run_answers(wanted)
    assert read_losses(wanted.out / "losses.jsonl") == read_losses(whole.out / "losses.jsonl")
    one, other = (load_file(folder / "model.safetensors") for folder in (whole.out, wanted.out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_cannot_be_trained_is_refused_in_a_sentence(
    finished: tuple[AnswerConfig, Any], checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConflictError, match="--resume"):
        training.run_answers(finished[0])
    with pytest.raises(ConflictError, match=r"other settings: lr 0\.001 → 0\.5"):
        training.run_answers(replace(finished[0], resume=True, lr=0.5))
    retrieval = config(Path("demo"), data, tmp_path / "out")
    from sightline.blip.checkpoint import DEMO_FOLDER

    with pytest.raises(CheckpointError, match="Blip2ForImageTextRetrieval"):
        training.run_answers(replace(retrieval, model=str(DEMO_FOLDER)))
    with pytest.raises(InputError, match=r"has no \{question\}"):
        training.run_answers(
            replace(config(checkpoints["blip2-opt"], data, tmp_path / "out"), wording="what?")
        )
