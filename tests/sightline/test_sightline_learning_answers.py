"""``sightline train --stage 2`` and ``--stage instruct``: options arrive, those of others are refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.blip.random_weights_language import write_random_instructblip
from sightline.cli.main import run

GIVEN: dict[str, Any] = {
    "epochs": 2, "batch_size": 3, "lr": 2e-4, "weight_decay": 0.01, "warmup": 0.2, "clip_norm": 2.0,
    "text_limit": 9, "answer_limit": 7, "seed": 5, "precision": "no",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A checkpoint, eight pictures, a question about each."""
    folder = tmp_path_factory.mktemp("answers")
    write_random_instructblip(folder / "start", "opt")
    rows = []
    for number in range(8):
        Image.fromarray(np.full((20, 20, 3), 30 * number, np.uint8)).save(folder / f"{number}.png")
        split = "train" if number < 6 else "val"
        row = {"image": f"{number}.png", "question": "how many dogs?", "answer": "two", "captions": ["a dog"]}
        rows.append({**row, "split": split})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [
        *("--model", str(folder / "start"), "--captions", str(folder / "rows.jsonl")),
        *("--images", str(folder), "--device", "cpu", "--json"),
    ]


@pytest.mark.parametrize(
    ("stage", "own"), [("2", ["--prompt", "a photo of"]), ("instruct", ["--freeze-qformer"])]
)
def test_options_arrive_and_the_others_are_the_stages_own(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, own: list[str]
) -> None:
    options = [text for name, value in GIVEN.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    assert run(["train", "--stage", stage, *place, "--out", str(tmp_path / "model"), *options, *own]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {name: report["settings"][name] for name in GIVEN} == GIVEN
    assert report["settings"]["stage"] == stage
    assert (report["settings"]["prompt"] == "a photo of") == (stage == "2")
    assert report["settings"]["freeze_qformer"] == (stage == "instruct")
    assert (report["examples"], report["steps"], report["measured_examples"]) == (6, 4, 2)


def test_what_was_not_given_is_usual_for_the_stage(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(["train", "--stage", "instruct", *place, "--out", str(tmp_path / "model"), "--epochs", "1"]) == 0
    )
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["lr"], settings["batch_size"], settings["text_limit"]) == (1e-5, 16, 128)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stage", "instruct", "--objectives", "itc"], "--objectives means nothing to --stage instruct"),
        (["--stage", "1", "--wording", "{question}"], "--wording means nothing to --stage 1"),
        (["--stage", "2", "--eval-k", "3"], "--eval-k means nothing to --stage 2"),
        (["--stage", "3"], "takes 1, 2, instruct; not '3'"),
    ],
)
def test_an_option_of_another_stage_is_refused(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert run(["train", *place, "--out", str(tmp_path / "model"), *options]) != 0
    told = capsys.readouterr()
    assert said in " ".join((told.out + told.err).split())
    assert not (tmp_path / "model").exists()


@pytest.mark.long
def test_ctrl_c_says_which_model_is_kept(place: list[str], tmp_path: Path) -> None:
    out = tmp_path / "model"
    command = [sys.executable, "-m", "sightline", "train", "--stage", "2", *place, "--out", str(out)]
    told = ["--epochs", "9000", "--eval-every", "90000", "--line-seconds", "0"]
    process = subprocess.Popen([*command, *told], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("train: step 5 "):
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Stopped; {out} holds the best model so far, of step 0, and --resume goes on." in rest
