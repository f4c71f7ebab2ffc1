"""Every released checkpoint's configuration makes our networks, and they need what stock models write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sightline.blip.inspection_parts import parts_of
from sightline.blip.registry import family_of
from sightline.blip.uninitialised import Uninitialised
from tests.blip.known_checkpoints import CONFIGS

ONE_OF_EACH = (
    "blip-itm-base-coco",
    "blip-image-captioning-large",
    "blip-vqa-base",
    "blip2-itm-vit-g",
    "blip2-opt-2.7b",
    "blip2-flan-t5-xl",
    "instructblip-flan-t5-xl",
    "instructblip-vicuna-7b",
)
"""The others have the same kinds of layers, more or wider ones."""
QUICK_FIRST = [
    pytest.param(name, marks=[] if name.removeprefix("Salesforce/") in ONE_OF_EACH else pytest.mark.long)
    for name in CONFIGS
]


def stock_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors that transformers' own class would write."""
    import transformers

    kind = getattr(transformers, config["architectures"][0])
    made = kind.config_class(**{name: value for name, value in config.items() if name != "model_type"})
    with torch.device("meta"), Uninitialised():
        return {name: tuple(value.shape) for name, value in kind(made).state_dict().items()}


@pytest.mark.parametrize("model", QUICK_FIRST)
def test_every_tensor_of_the_stock_model_is_one_of_ours(model: str, tmp_path: Path) -> None:
    config = CONFIGS[model]
    (tmp_path / "config.json").write_text(json.dumps(config))
    expected, ours = stock_shapes(config), dict[str, tuple[int, ...]]()
    for part in parts_of(tmp_path):
        for names, value in part.needed():
            found = next((name for name in names if name in expected), None)
            assert found is not None, f"{names} is nothing that the stock model has"
            ours |= dict.fromkeys(names, tuple(value.shape))
    assert {name: ours.get(name) for name in expected} == expected


@pytest.mark.parametrize("model", CONFIGS)
def test_its_family_knows_its_patches_without_torch(model: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[model]))
    vision = CONFIGS[model]["vision_config"]
    side, patch = vision["image_size"], vision.get("patch_size", 14)
    width = vision.get("hidden_size", 768 if CONFIGS[model]["model_type"] == "blip" else 1408)
    assert family_of(tmp_path).dimensions(tmp_path).patch_shape == ((side // patch) ** 2 + 1, width)
