"""Whole runs on a tiny random checkpoint: what comes out, what is left out, and what a kill costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sightline import training
from sightline.blip import load
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.protocols import Captioner
from sightline.blip.random_weights import small_config, write_random_checkpoint
from sightline.blip.random_weights_blip import write_random_blip
from sightline.errors import CheckpointError, ConflictError, InputError
from sightline.training.best import read_best
from sightline.training.config import TrainConfig
from sightline.training.errors import TrainingDivergedError
from tests.children import kill
from tests.services import free_port
from tests.training.runs import Interrupted, config, interrupt_at, losses


def test_a_run_publishes_a_model_a_report_and_falling_losses(finished: tuple[TrainConfig, Any]) -> None:
    wanted, report = finished
    curve = losses(wanted.out)
    assert [line["step"] for line in curve] == list(range(12))
    assert curve[-1]["total"] < curve[0]["total"]
    assert (report.pictures, report.measured, report.steps) == (12, "val", 12)
    assert report.before.texts == report.after.texts == 8
    assert (wanted.out / "losses.png").stat().st_size > 5000
    saved = json.loads((wanted.out / "report.json").read_text())
    assert saved["state"] == "done"
    assert set(saved["after"]["rows"][0]["text_to_image"]) == {"1", "5", "10"}
    assert "before → after" in (wanted.out / "report.md").read_text()


def test_bad_input_is_listed_in_the_report_and_skipped(
    finished: tuple[TrainConfig, Any], caplog: pytest.LogCaptureFixture
) -> None:
    wanted, report = finished
    found = {(problem.where, problem.reason) for problem in report.problems}
    assert {("0.png", "caption"), ("gone.png", "missing"), ("line 19", "row")} <= found
    assert [where for where, _ in found].count("broken.png") == 1
    assert "gone.png: missing" in (wanted.out / "report.md").read_text()


@pytest.mark.skipif(not (DEMO_FOLDER / "model.safetensors").exists(), reason="the model is not trained yet")
def test_the_shipped_model_is_trained_by_its_name_and_the_toy_is_refused(data: Path, tmp_path: Path) -> None:
    wanted = replace(config(DEMO_FOLDER, data, tmp_path / "out"), model="demo", epochs=1, eval_ks=())
    report = training.run(wanted)
    assert report.before.fingerprint == load("demo", device="cpu").fingerprint
    assert report.settings["model"] == "demo"
    with pytest.raises(InputError, match="toy is formulas without files"):
        training.run(replace(wanted, model="toy", out=tmp_path / "other"))


def test_the_folder_loads_in_stock_transformers_with_identical_scores(
    finished: tuple[TrainConfig, Any],
) -> None:
    from transformers import AutoProcessor, Blip2ForImageTextRetrieval

    out = str(finished[0].out)
    ours = load(out, device="cpu", dtype="float32")
    loader: Any = Blip2ForImageTextRetrieval
    stock, info = loader.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert stock.dtype == torch.float32
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    processor: Any = AutoProcessor
    inputs = processor.from_pretrained(out)(
        images=Image.fromarray(image), text="a red dog", return_tensors="pt"
    )
    pixels = ours.preprocess([image])
    patches = ours.encode_patches(pixels)
    inputs["pixel_values"] = pixels  # the processor's own pixels depend on whether torchvision is there
    with torch.inference_mode():
        itm = stock.eval()(**inputs, use_image_text_matching_head=True).logits_per_image
        itc = stock(**inputs, use_image_text_matching_head=False).logits_per_image
    torch.testing.assert_close(ours.match(["a red dog"], patches), itm, atol=1e-5, rtol=1e-5)
    expected = (ours.encode_image(patches)[0] @ ours.encode_text(["a red dog"]).T).max()
    torch.testing.assert_close(expected, itc[0, 0], atol=1e-5, rtol=1e-5)
    assert isinstance(ours, Captioner)
    assert ours.caption(patches, 1, ours.sampling("greedy"))


def test_a_frozen_image_encoder_is_copied_and_the_rest_has_moved(
    finished: tuple[TrainConfig, Any], checkpoint: Path
) -> None:
    old, new = (load_file(folder / "model.safetensors") for folder in (checkpoint, finished[0].out))
    assert set(old) == set(new)
    same = {name for name in old if torch.equal(old[name], new[name])}
    assert {name for name in old if name.startswith("vision_model.")} <= same
    assert "query_tokens" not in same
    assert "itm_head.weight" not in same


def test_a_resumed_run_has_the_losses_and_the_weights_of_an_uninterrupted_one(
    finished: tuple[TrainConfig, Any], tmp_path: Path
) -> None:
    whole = finished[0]
    wanted = replace(whole, out=tmp_path / "model", resume=True)
    for step in (6, 11):  # the checkpoints are of steps 4 and 8: what came after is done again
        with pytest.raises(Interrupted):
            training.run(wanted, interrupt_at(step))
    training.run(wanted)
    assert losses(wanted.out) == losses(whole.out)
    one, other = (load_file(folder / "model.safetensors") for folder in (whole.out, wanted.out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_with_a_run_is_not_overwritten_and_not_continued_with_other_settings(
    finished: tuple[TrainConfig, Any],
) -> None:
    with pytest.raises(ConflictError, match="--resume"):
        training.run(finished[0])
    with pytest.raises(ConflictError, match=r"other settings: lr 0\.001 → 0\.5"):
        training.run(replace(finished[0], resume=True, lr=0.5))


def test_a_diverging_run_stops_keeps_its_checkpoint_and_the_best_model_and_says_so(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    wanted = replace(
        config(checkpoint, data, tmp_path / "model"),
        lr=3e6,
        clip_norm=1e9,
        warmup=0.5,
        epochs=40,
        checkpoint_steps=2,
    )
    with pytest.raises(TrainingDivergedError, match=r"The last good checkpoint, of step \d+, is kept in"):
        training.run(wanted)
    report = json.loads((wanted.out / "report.json").read_text())
    assert report["state"] == "diverged"
    assert report["steps"] < 120
    kept = sorted((wanted.out / "checkpoints").glob("step-*"))[-1]
    assert all(tensor.isfinite().all() for tensor in load_file(kept / "weights.safetensors").values())
    best = read_best(wanted.out)
    assert best is not None
    assert best.step <= int(kept.name.removeprefix("step-"))
    assert (
        str(report["message"]).count(f"{wanted.out} holds the best model so far, of step {best.step}.") == 1
    )
    weights = load_file(wanted.out / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert load(str(wanted.out), device="cpu").patch_shape == load(str(checkpoint), device="cpu").patch_shape


def test_a_trained_image_encoder_moves_and_is_measured_anew(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    wanted = replace(
        config(checkpoint, data, tmp_path / "model"), freeze_vision=False, epochs=1, objectives=("itc",)
    )
    report = training.run(wanted)
    old, new = (load_file(folder / "model.safetensors") for folder in (checkpoint, wanted.out))
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert not torch.equal(old[name], new[name])
    assert torch.equal(old["itm_head.weight"], new["itm_head.weight"])
    assert set(report.losses[0]) == {"step", "total", "itc", "lr", "hardness", "temperature"}
    assert report.after is not None
    assert report.after.fingerprint != report.before.fingerprint


def test_unusable_wishes_are_refused_in_a_sentence(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    wanted = config(checkpoint, data, tmp_path / "model")
    with pytest.raises(InputError, match="--no-freeze-vision"):
        training.run(replace(wanted, fresh="all"))
    with pytest.raises(InputError, match="Objectives are some of itc, itm, itg"):
        training.run(replace(wanted, objectives=()))
    with pytest.raises(InputError, match="at least 1 epoch"):
        training.run(replace(wanted, epochs=0))


def test_a_blip_checkpoint_is_refused_before_a_folder_is_made(data: Path, tmp_path: Path) -> None:
    wanted = config(write_random_blip(tmp_path / "blip"), data, tmp_path / "model")
    with pytest.raises(CheckpointError, match="of type 'blip'; this needs a BLIP-2"):
        training.run(wanted)
    assert not wanted.out.exists()


KILLED = """
import sys
from pathlib import Path
from sightline import training
from sightline.training.best import read_best
from sightline.training.config import TrainConfig
model, data, out = sys.argv[1:4]
training.run(TrainConfig(model=model, data=Path(data, "captions.jsonl"), images=Path(data), out=Path(out),
epochs=60,
    batch_size=4, lr=1e-3, device="cpu", eval_ks=(2,), checkpoint_steps=25, eval_every=10, resume=True))
"""


@pytest.mark.long
def test_kill_9_changes_no_loss(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", KILLED, str(checkpoint), str(data), str(out)])

    assert start(tmp_path / "whole").wait(timeout=200) == 0
    for steps in (40, 90, 140):
        process = start(tmp_path / "killed")
        deadline = time.monotonic() + 120
        while len(losses(tmp_path / "killed")) < steps and time.monotonic() < deadline:
            time.sleep(0.02)
        kill(process)
        best = read_best(tmp_path / "killed")
        assert best is not None
        assert (best.score, best.step) == max((score, step) for step, score in best.scores)
        assert load(str(tmp_path / "killed"), device="cpu").network.query_tokens.isfinite().all()
    assert start(tmp_path / "killed").wait(timeout=200) == 0
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


RANKS = """
import sys
from pathlib import Path
from sightline import training
from sightline.training.best import read_best
from sightline.training.config import TrainConfig
model, data, out, batch_size = sys.argv[1:5]
training.run(TrainConfig(model=model, data=Path(data, "captions.jsonl"), images=Path(data), out=Path(out),
epochs=2,
    batch_size=int(batch_size), lr=1e-3, device="cpu", eval_ks=(2,), objectives=("itc", "itg")))
"""


@pytest.mark.long
def test_two_ranks_with_half_a_batch_each_learn_what_one_learns(data: Path, tmp_path: Path) -> None:
    without_dropout = replace(
        small_config().qformer_config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    model = write_random_checkpoint(
        tmp_path / "start", replace(small_config(), qformer_config=without_dropout)
    )
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    (tmp_path / "ranks.py").write_text(RANKS)
    for name, size, launcher in (("one", "4", []), ("two", "2", torchrun)):
        command = [sys.executable, *launcher, str(tmp_path / "ranks.py")]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        paths = [str(model), str(data), str(tmp_path / name), size]
        subprocess.run([*command, *paths], check=True, timeout=200, env=environment)
    one, two = ([line["itc"] for line in losses(tmp_path / name)] for name in ("one", "two"))
    np.testing.assert_allclose(one, two, rtol=1e-4)
