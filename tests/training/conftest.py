"""Fixtures of whole runs: a tiny random checkpoint, and pictures with captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline import training
from sightline.blip.random_weights import small_config, write_random_checkpoint
from sightline.training.config import TrainConfig
from sightline.training.report import TrainReport
from tests.training.runs import config

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0), "two": (255, 255, 0)}


@pytest.fixture(scope="package")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"), small_config())


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 pictures of one colour each, 12 to train on; and four rows that cannot be used."""
    folder = tmp_path_factory.mktemp("data")
    rows: list[dict[str, Any]] = []
    for number in range(16):
        name, colour = list(COLOURS.items())[number % 4]
        pixels = np.full((24, 24, 3), colour, dtype=np.uint8)
        pixels[number : number + 4] = 128
        Image.fromarray(pixels).save(folder / f"{number}.png")
        captions = [f"a {name} house on the left", f"the {name} dog and the cat"]
        rows.append(
            {"image": f"{number}.png", "captions": captions, "split": "train" if number < 12 else "val"}
        )
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:60])
    rows += [{"image": "broken.png", "captions": ["a broken dog"], "split": "train"}]
    rows += [{"image": "gone.png", "captions": ["a lost dog"], "split": "train"}]
    rows[0]["captions"].append("  ")
    lines = [json.dumps(row) for row in rows] + ["{no json"]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="package")
def finished(
    checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainConfig, TrainReport]:
    """A run that nothing disturbed."""
    wanted = config(checkpoint, data, tmp_path_factory.mktemp("out") / "model")
    return wanted, training.run(wanted)
