"""What a checkpoint leaves out or brings too much of does not stop tuning, and what is lost is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sightline.blip.random_weights_language import write_random_blip2_writer
from sightline.errors import CheckpointError, ConflictError, InputError
from sightline.evaluation.data import read_pictures
from sightline.training.answer_config import AnswerConfig
from sightline.training.answer_data import read_examples
from sightline.training.answer_trainer import run_answer_training
from sightline.training.answer_weights import load_stock
from sightline.training.answering import AnswerBatch, AnswerLearner
from sightline.training.best import BestSoFar, read_best
from sightline.training.needs import FP32, writer_bytes
from sightline.training.publication import WHOLE
from sightline.training.session import check_folder
from sightline.training.trainer import Listener


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_blip2_writer(tmp_path_factory.mktemp("writer") / "model", "opt")


def edited(folder: Path, to: Path, **changes: Any) -> Path:
    shutil.copytree(folder, to)
    content = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**content, **changes}))
    return to


def test_a_checkpoint_that_names_no_placeholder_trains_with_the_same_loss(
    writer: Path, tmp_path: Path
) -> None:
    said = json.loads((writer / "config.json").read_text())["image_token_index"]
    losses = []
    for folder, place in (
        (writer, said),
        (edited(writer, tmp_path / "other", image_token_index=None), 10**6),
    ):
        learner = AnswerLearner(load_stock(folder)).eval()
        ids = torch.tensor([[place] * learner.query_tokens.shape[1] + [2, 5, 7, 2]])
        labels = ids.clone()
        labels[:, :-2] = -100
        patches = torch.ones(1, 17, 48)
        none = torch.zeros(1, 0, dtype=torch.int64)
        with torch.inference_mode():
            losses.append(
                float(learner.loss(AnswerBatch(patches, none, none, ids, torch.ones_like(ids), labels)))
            )
    assert losses[0] == losses[1]


def test_weights_that_are_damaged_are_refused_in_a_sentence_before_tuning(
    writer: Path, tmp_path: Path
) -> None:
    cut = edited(writer, tmp_path / "cut")
    content = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="half downloaded"):
        load_stock(cut)
    (cut / "model.safetensors").unlink()
    torch.save({}, cut / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="Pickled weights are not loaded"):
        load_stock(cut)


def test_the_room_of_a_model_counts_what_is_frozen_in_its_own_type(writer: Path) -> None:
    learner = AnswerLearner(load_stock(writer), freeze_qformer=True)
    projection = sum(p.numel() for p in learner.language_projection.parameters())
    whole = sum(path.stat().st_size for path in writer.glob("*.safetensors"))
    assert 0 <= whole - writer_bytes(writer, learner) < 100_000  # the header; all of it is fp32
    assert writer_bytes(writer, learner) > FP32 * projection


def test_settings_below_one_are_refused(writer: Path, tmp_path: Path) -> None:
    config = AnswerConfig("instruct", str(writer), tmp_path / "rows", tmp_path, tmp_path / "out")
    for name in ("checkpoint_steps", "eval_every", "eval_rows", "text_limit", "answer_limit"):
        with pytest.raises(InputError, match=f"The setting {name}"):
            run_answer_training(replace(config, **{name: 0}), Listener())


def test_a_line_of_json_ends_at_its_end_alone(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    row = {
        "image": "0.png",
        "caption": "a dog\u2028a cat\u0085",
        "question": "what\u2028is it?",
        "answer": "a dog",
    }
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_pictures(data, tmp_path).pictures[0].captions == ("a dog a cat",)
    split = read_examples(AnswerConfig("instruct", "m", data, tmp_path, tmp_path / "out"))
    assert [one.instruction for one in (*split.train, *split.val)] == ["what is it?"]


def test_a_number_is_better_than_none(tmp_path: Path) -> None:
    scores = iter([float("nan"), 0.25, float("nan"), 0.125])
    published: list[str] = []

    def publish(name: str, text: str) -> None:
        published.append(name)
        (tmp_path / name).write_text(text)

    best = BestSoFar(tmp_path, {}, lambda: next(scores), publish)
    best.open()
    assert [best.consider(step) for step in (1, 2, 3)] == [True, False, False]
    found = read_best(tmp_path)
    assert found is not None
    assert (found.step, found.score) == (1, 0.25)


def test_a_folder_whose_publication_was_killed_holds_a_run(tmp_path: Path) -> None:
    (tmp_path / WHOLE).mkdir()
    with pytest.raises(ConflictError, match="--resume"):
        check_folder(tmp_path, resume=False)
