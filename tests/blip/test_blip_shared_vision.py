"""Patches of one checkpoint become those of another with the same ViT, and of no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sightline.blip import load
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.shared_vision import patch_transfer

NORM = "vision_model.post_layernorm."


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("shared") / "one")


@pytest.fixture
def other(one: Path, tmp_path: Path) -> Path:
    """Another Q-Former, and another norm behind the same ViT."""
    folder = write_random_checkpoint(tmp_path / "other", seed=7)
    ours, theirs = (load_file(path / "model.safetensors") for path in (one, folder))
    vision = {
        name: value for name, value in ours.items() if name.startswith("vision_model.") and NORM not in name
    }
    save_file(theirs | vision, folder / "model.safetensors")
    return folder


def patches(folder: Path) -> torch.Tensor:
    model = load(str(folder), device="cpu")
    pictures = list(np.random.default_rng(3).integers(0, 256, (3, 40, 30, 3), np.uint8))
    return model.encode_patches(model.preprocess(pictures))


def test_patches_of_the_one_become_those_of_the_other(one: Path, other: Path) -> None:
    transfer = patch_transfer(one, other)
    assert transfer is not None
    assert not transfer.is_identity
    before, expected = patches(one), patches(other)
    assert (before - expected).abs().max() > 0.1
    assert torch.allclose(transfer.apply(before), expected, atol=1e-5 * float(expected.abs().max()))
    half = transfer.apply(before.half())
    assert half.dtype == torch.float32
    # Rounded to fp16 before the transfer: half a unit in the last of 11 places, times the scale.
    bound = before.abs() * 2**-11 * transfer.scale.abs() + 1e-4
    assert bool(((half - expected).abs() <= bound).all())


def test_the_same_norm_changes_nothing(one: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(one, tmp_path / "copy"))
    tensors = load_file(copy / "model.safetensors")
    save_file(tensors | {"itm_head.bias": tensors["itm_head.bias"] + 1}, copy / "model.safetensors")
    transfer = patch_transfer(one, copy)
    assert transfer is not None
    assert transfer.is_identity
    some = torch.randn(2, 5, 48)
    assert torch.equal(transfer.apply(some), some)


@pytest.mark.parametrize("what", ["weight", "eps", "pixels", "another ViT", "a channel that is gone"])
def test_whatever_else_differs_there_is_no_transfer(
    one: Path, other: Path, tmp_path: Path, what: str
) -> None:
    first = Path(shutil.copytree(one, tmp_path / "first"))
    if what == "weight":
        tensors = load_file(other / "model.safetensors")
        tensors["vision_model.encoder.layers.2.mlp.fc1.bias"][0] += 1e-3
        save_file(tensors, other / "model.safetensors")
    if what == "eps":
        raw = json.loads((other / "config.json").read_text())
        raw["vision_config"]["layer_norm_eps"] = 1e-5
        (other / "config.json").write_text(json.dumps(raw))
    if what == "pixels":
        raw = json.loads((other / "preprocessor_config.json").read_text())
        (other / "preprocessor_config.json").write_text(json.dumps(raw | {"image_mean": [0.5, 0.5, 0.5]}))
    if what == "another ViT":
        other = write_random_checkpoint(tmp_path / "far", seed=9)
    if what == "a channel that is gone":
        tensors = load_file(first / "model.safetensors")
        tensors[f"{NORM}weight"][3] = 0
        save_file(tensors, first / "model.safetensors")
    assert patch_transfer(first, other) is None
