"""One `load` for every name and every family, and what a model is without loading it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sightline.blip import checkpoint, load
from sightline.blip.config import MODEL_TYPES
from sightline.blip.fingerprints import fingerprint
from sightline.blip.protocols import (
    Answerer,
    Captioner,
    Encoder,
    Matcher,
    Vision,
    Writer,
    embedding,
)
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.random_weights_blip import (
    write_random_blip,
    write_random_blip_answerer,
    write_random_blip_captioner,
)
from sightline.blip.random_weights_language import write_random_blip2_writer, write_random_instructblip
from sightline.blip.registry import FAMILIES, describe
from sightline.blip.toy import FINGERPRINT, ToyEncoder, ToyMatcher
from sightline.errors import CheckpointError, ModelUnavailableError

ROOT = Path(__file__).parents[2]
RETRIEVAL = "Blip2ForImageTextRetrieval"
WRITERS: dict[tuple[str, str], Callable[[Path], Path]] = {
    **{(name, RETRIEVAL): write_random_checkpoint for name in MODEL_TYPES},
    **{(name, "Blip2ForConditionalGeneration"): write_random_blip2_writer for name in MODEL_TYPES},
    ("blip", "BlipForImageTextRetrieval"): write_random_blip,
    ("blip", "BlipForConditionalGeneration"): write_random_blip_captioner,
    ("blip", "BlipForQuestionAnswering"): write_random_blip_answerer,
    ("instructblip", "InstructBlipForConditionalGeneration"): write_random_instructblip,
}
"""``model_type`` → writes a small random checkpoint of that family into a folder."""
trained = pytest.mark.skipif(
    not (checkpoint.DEMO_FOLDER / "model.safetensors").exists(), reason="the model is not trained yet"
)


def with_type(folder: Path, model_type: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": model_type}))
    return folder


@trained
def test_demo_is_the_shipped_model_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_random_checkpoint(tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    shipped = fingerprint(checkpoint.DEMO_FOLDER)
    assert load("demo", device="cpu").fingerprint == describe("demo").fingerprint == shipped
    named = fingerprint(other)
    assert load("./demo", device="cpu").fingerprint == describe("./demo").fingerprint == named
    assert checkpoint.lasting_name("demo") == "demo"
    assert checkpoint.lasting_name("./demo") == str(other)


def test_toy_is_the_formulas_also_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_random_checkpoint(tmp_path / "toy")
    monkeypatch.chdir(tmp_path)
    toy = load("toy", device="cpu", match_dtype="bfloat16")
    assert toy.fingerprint == describe("toy").fingerprint == FINGERPRINT
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    # logits of a red picture for "red" by the formulas: (2 · mean of (1, 0, 0), 8 · 1 − 4)
    logits = toy.match(["red"], toy.encode_patches(toy.preprocess([red])))
    assert logits[0].tolist() == pytest.approx([2 / 3, 4])
    with pytest.raises(CheckpointError, match="The model toy is formulas without files"):
        checkpoint.resolve("toy")


@pytest.mark.parametrize("kind", [(name, one) for name, ones in FAMILIES.items() for one in ones])
def test_a_family_describes_what_it_loads(tmp_path: Path, kind: tuple[str, str]) -> None:
    assert kind in WRITERS, "add to WRITERS what writes a small random checkpoint of this family"
    folder = with_type(WRITERS[kind](tmp_path / "model"), kind[0])
    described, loaded = describe(str(folder)), load(str(folder), device="cpu")
    assert loaded.fingerprint == described.fingerprint == fingerprint(folder)
    assert loaded.patch_shape == described.dimensions.patch_shape
    assert isinstance(loaded, Encoder) == (described.dimensions.joint_dim is not None)
    pixels = loaded.preprocess([np.zeros((9, 7, 3), np.uint8)])
    patches = loaded.encode_patches(pixels)
    assert patches.shape == (1, *described.dimensions.patch_shape)
    if isinstance(loaded, Encoder):
        tokens = loaded.encode_image(patches)
        assert tokens.shape == (1, described.dimensions.num_query_tokens, described.dimensions.joint_dim)
    if isinstance(loaded, Matcher):
        assert loaded.match(["a red dog"], patches).shape == (1, 2)
    if isinstance(loaded, Writer):
        features = loaded.features(patches)
        assert features.shape == (1, *loaded.feature_shape)
        assert loaded.features_are_patches == torch.equal(features, patches)
    if isinstance(loaded, Captioner):
        (found,) = loaded.caption(features, 2, loaded.sampling("nucleus"))
        assert len(found) == 2
    if isinstance(loaded, Answerer):
        assert loaded.log_likelihoods(features, ["is it red?"], ["yes", "no"]).shape == (1, 2)


def test_describing_imports_no_torch(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "model")
    program = (
        "import sys; from sightline.blip.registry import describe; "
        "print(describe(sys.argv[1]).fingerprint, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [fingerprint(folder), "False"]


@pytest.mark.parametrize("model_type", ["clip", "flava", None, 7])
def test_an_unknown_family_is_named_with_those_that_are_known(tmp_path: Path, model_type: object) -> None:
    folder = with_type(write_random_checkpoint(tmp_path / "model"), model_type)
    for ask in (load, describe):
        with pytest.raises(CheckpointError) as caught:
            ask(str(folder))
        assert repr(model_type) in str(caught.value)
        assert "blip-2" in str(caught.value)


@pytest.mark.parametrize("content", [None, "{no json", "[]"])
def test_a_folder_without_a_readable_configuration_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(str(tmp_path))


def test_what_is_nowhere_is_said_with_a_way_out() -> None:
    for ask in (load, describe):
        with pytest.raises(ModelUnavailableError, match="demo"):
            ask("./not/here")


def test_a_model_that_only_judges_has_no_embedding_and_cannot_be_taken_for_one() -> None:
    judge = ToyMatcher()
    assert isinstance(judge, Vision)
    assert isinstance(judge, Matcher)
    assert not isinstance(judge, Encoder)
    with pytest.raises(CheckpointError, match="The model mine does not embed"):
        embedding(judge, "mine")
    both = ToyEncoder()
    assert embedding(both, "mine") is both


def test_both_toys_judge_alike() -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8))
    one, other = ToyMatcher(), ToyEncoder()
    patches = one.encode_patches(one.preprocess(images))
    assert torch.equal(patches, other.encode_patches(other.preprocess(images)))
    assert torch.equal(one.match(["red top"], patches), other.match(["red top"], patches))
