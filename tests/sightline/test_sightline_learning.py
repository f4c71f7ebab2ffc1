"""``sightline train`` and ``eval``: every setting can be reached, and what is told fits anywhere."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from rich.console import Console

from sightline.blip import load
from sightline.blip.random_weights import small_config, write_random_checkpoint
from sightline.cli.following import Lines, duration
from sightline.cli.main import app, run
from sightline.evaluation.config import EvalConfig
from sightline.training.answer_config import AnswerConfig
from sightline.training.config import TrainConfig

OTHER_NAMES = {"eval_ks": "eval_k", "ks": "k"}
"""Lists are called by one of their members."""


def options(command: str) -> dict[str, Any]:
    """Parameters of a command by name."""
    group: Any = typer.main.get_command(app)
    return {parameter.name: parameter for parameter in group.commands[command].params}


@pytest.mark.parametrize(("command", "config"), [("train", TrainConfig), ("eval", EvalConfig)])
def test_every_setting_is_an_option_with_a_help_and_the_same_default(command: str, config: Any) -> None:
    found = options(command)
    for field in fields(config):
        if field.name == "data":  # checked by the command: the former --data may name it
            assert found["captions"].help.endswith(".")
            continue
        option = found[OTHER_NAMES.get(field.name, field.name)]
        assert option.help.endswith("."), field.name
        if field.name in OTHER_NAMES:
            assert option.default == ",".join(map(str, field.default))
        elif not option.required and field.name != "model":
            assert option.default == field.default, field.name
    beyond = set(found) - {OTHER_NAMES.get(field.name, field.name) for field in fields(config)}
    others = {field.name for field in fields(AnswerConfig)} if command == "train" else set()
    assert others <= set(found)
    assert beyond - others == {"captions", "line_seconds", "json"}


GIVEN: dict[str, Any] = {
    "objectives": ["itc", "itm"], "freeze_vision": False, "fresh": "qformer", "epochs": 2, "batch_size": 3,
    "lr": 2e-4, "vision_lr": 3e-5, "weight_decay": 0.01, "warmup": 0.2, "hard_after": 0.4,
    "label_smoothing": 0.2, "temperature": 0.1, "augment": True, "text_limit": 9, "text": "lavis",
    "clip_norm": 2.0, "precision": "no", "device": "cpu", "seed": 5, "checkpoint_steps": 2, "eval_every": 3,
    "validation_pictures": 2, "validation_k": 1, "eval_ks": [2, 3], "eval_pictures": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and ten pictures of which four measure."""
    folder = tmp_path_factory.mktemp("learning")
    write_random_checkpoint(folder / "start", small_config())
    rows = []
    for number in range(10):
        pixels = np.full((20, 20, 3), 25 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = "train" if number < 6 else "val"
        rows.append({"image": f"{number}.png", "captions": [f"the red dog {number}"], "split": split})
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def arguments(given: dict[str, Any]) -> list[str]:
    found = []
    for name, value in given.items():
        option = "--" + OTHER_NAMES.get(name, name).replace("_", "-")
        if value is False:
            found.append("--no-" + option[2:])
        elif value is True:
            found.append(option)
        else:
            found += [option, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return found


def test_every_option_of_train_arrives_and_progress_is_plain_lines_off_a_terminal(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = tmp_path / "model", tmp_path / "cache"
    captions = str(data / "captions.jsonl")
    place = ["--model", str(data / "start"), "--captions", captions, "--images", str(data)]
    more = ["--out", str(out), "--cache", str(cache), "--line-seconds", "0", "--json"]
    assert run(["train", *place, *more, *arguments(GIVEN)]) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    settings = report["settings"]
    assert {name: settings[name] for name in GIVEN if name in settings} == {
        name: value for name, value in GIVEN.items() if name in settings
    }
    free = {"device", "checkpoint_steps", "eval_every", "validation_pictures", "validation_k", "eval_ks"}
    assert set(GIVEN) - set(settings) == {*free, "eval_pictures"}
    assert [step for step, _ in report["validation"]] == [0, 3, 4]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-00000002", "step-00000004"]
    assert report["before"]["images"] == 3
    assert sorted({row["k"] for row in report["before"]["rows"] if row["k"]}) == [2, 3]
    assert report["before"]["text"] == "lavis"
    assert any(cache.iterdir())
    lines = told.err.splitlines()
    assert not set("\r\x1b\x07") & set(told.err)
    assert sum(line.startswith("train: step ") for line in lines) == 4
    assert [line for line in lines if line.startswith("Up to ")]


def test_a_run_that_stands_in_a_folder_is_shown_in_80_columns(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--captions", str(data / "captions.jsonl"), "--images", str(data), "--device", "cpu"]
    out = ["--model", str(data / "start"), "--out", str(tmp_path / "model")]
    assert run(["train", *place, *out, "--epochs", "1", "--eval-k", "3"]) == 0
    fits(capsys.readouterr().out)
    cache = ["--cache", str(tmp_path / "cache"), "--patches", "float32"]
    assert run(["eval", *place, "--model", str(data / "start"), "--k", "2,3", *cache]) == 0
    fits(capsys.readouterr().out)
    rows = next((tmp_path / "cache").iterdir()) / "rows.npy"
    assert np.load(rows, mmap_mode="r").dtype == np.float32


def fits(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 80
    assert "text → image: recall in %" in text
    headings = [line.split() for line in text.splitlines() if "against" in line]
    assert headings == [["score", "against", "k", "R@1", "R@5", "R@10", "MRR"]] * 2, "none is cut off"


def test_lines_come_when_it_is_time_and_say_how_long_it_takes() -> None:
    now = 0.0
    out = io.StringIO()
    lines = Lines(Console(file=out, width=40), 30, lambda: now)
    for step in range(1, 101):
        lines.on_step(step, 100, {"total": 2.5, "itc": 1.5, "itm": 1.0, "lr": 1e-5})
        lines.on_progress("train", step, 100)
        now += 10
    lines.on_progress("encode pictures", 1, 4)
    lines.on_progress("encode pictures", 4, 4)
    told = out.getvalue().splitlines()
    losses = "loss 2.500 (itc 1.500, itm 1.000), lr 1.0e-05"
    assert told[0] == f"train: step 1 of 100, {losses}"
    assert told[1] == f"train: step 4 of 100, {losses}, 0.10 a second, 16 min left"
    assert told[-3] == f"train: step 100 of 100, {losses}, 0.10 a second"
    assert told[-2:] == ["encode pictures: 1 of 4", "encode pictures: 4 of 4"]
    assert len(told) == 1 + 33 + 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (91, "2 min"), (5400, "1 h 30 min"), (36300, "10 h 05 min")],
)
def test_durations_are_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.long
def test_ctrl_c_ends_a_run_with_a_sentence_and_a_model(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    place = [
        "--captions",
        str(data / "captions.jsonl"),
        "--images",
        str(data),
        "--device",
        "cpu",
        "--epochs",
        "9000",
    ]
    command = [sys.executable, "-m", "sightline", "train", "--model", str(data / "start"), "--out", str(out)]
    process = subprocess.Popen([*command, *place, "--line-seconds", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("train: step 5 "):
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Stopped; {out} holds the best model so far, of step 0, and --resume goes on." in rest
    assert load(str(out), device="cpu").network.query_tokens.isfinite().all()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--fresh", "some"), ("--precision", "int4"), ("--text", "french"), ("--eval-k", "0")],
)
def test_a_value_that_is_none_of_the_choices_is_refused_in_a_sentence(
    option: str, value: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--model", "demo", "--captions", str(data / "captions.jsonl"), "--images", str(data)]
    assert run(["train", *place, "--out", str(tmp_path / "out"), option, value]) == 2
    assert f"The option {option}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
