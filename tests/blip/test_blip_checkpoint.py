"""Loading checkpoints: what is refused, with which sentence, and what a fingerprint means."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sightline.blip import checkpoint, load
from sightline.blip.fingerprints import fingerprint
from sightline.blip.pixels import PixelConfig, preprocess
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import CheckpointError, InputError, ModelUnavailableError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random_checkpoint(tmp_path / "model")


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_unreachable_hub_gives_one_sentence_with_model_cache_and_the_way_out(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sightline.errors import ModelUnavailableError\n"
        "from sightline.blip.checkpoint import resolve\n"
        "try: resolve('Salesforce/blip2-itm-vit-g', None, Path(sys.argv[1]))\n"
        "except ModelUnavailableError as error: print(error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert "Salesforce/blip2-itm-vit-g" in done.stdout
    assert str(tmp_path) in done.stdout
    assert "--model demo" in done.stdout


def test_a_missing_folder_is_not_taken_for_a_hub_id() -> None:
    with pytest.raises(ModelUnavailableError, match=r"There is no model folder \./nowhere"):
        checkpoint.resolve("./nowhere")


def test_a_stage_two_checkpoint_is_refused_because_it_cannot_embed_text(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    edit_config(folder, qformer_config={**raw["qformer_config"], "use_qformer_text_input": False})
    with pytest.raises(CheckpointError, match="stage-2"):
        load(str(folder), device="cpu")


def test_another_kind_of_model_is_named_and_refused(folder: Path) -> None:
    edit_config(folder, model_type="clip")
    with pytest.raises(CheckpointError, match="'clip'"):
        load(str(folder), device="cpu")


def test_pickled_weights_are_never_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="Pickled weights are not loaded"):
        load(str(folder), device="cpu")


def test_a_missing_tensor_and_a_wrong_shape_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({name: value for name, value in tensors.items() if name != "itm_head.bias"}, path)
    with pytest.raises(CheckpointError, match=r"itm_head\.bias"):
        load(str(folder), device="cpu")
    save_file({**tensors, "itm_head.bias": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"itm_head\.bias is \[3\]"):
        load(str(folder), device="cpu")


def test_sharded_weights_load_like_whole_ones(folder: Path) -> None:
    whole = load(str(folder), device="cpu").encode_text(["a red dog"])
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    assert torch.equal(load(str(folder), device="cpu").encode_text(["a red dog"]), whole)


def test_the_fingerprint_follows_the_weights_and_not_the_folder(folder: Path, tmp_path: Path) -> None:
    same = write_random_checkpoint(tmp_path / "again")
    other = write_random_checkpoint(tmp_path / "other", seed=5)
    assert fingerprint(folder) == fingerprint(same)
    assert fingerprint(folder) != fingerprint(other)


def test_the_fingerprint_needs_no_torch(folder: Path) -> None:
    code = "import sys; from sightline.blip.fingerprints import fingerprint; from pathlib import Path\n"
    code += "fingerprint(Path(sys.argv[1])); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_size_mean_and_std_come_from_the_checkpoint(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 1.0]}))
    white = np.full((8, 8, 3), 255, np.uint8)
    pixels = load(str(folder), device="cpu").preprocess([white])[0]
    assert pixels.shape == (3, 32, 32)
    assert torch.allclose(pixels.amax(dim=(1, 2)), torch.tensor([2.0, 1.0, 0.5]), atol=1e-6)
    path.write_text(json.dumps({**raw, "size": {"height": 384, "width": 384}}))
    with pytest.raises(CheckpointError, match="384 px"):
        load(str(folder), device="cpu")


def test_pixel_values_are_fixed(folder: Path) -> None:
    """A gradient through the bicubic resize, written down so that no library changes it unseen."""
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    pixels = preprocess([ramp], PixelConfig(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))[0, 0, 0] * 255
    assert pixels.round().tolist() == [31.0, 93.0, 159.0, 221.0]


def test_a_vocabulary_file_alone_gives_the_same_ids(folder: Path) -> None:
    expected = load_tokenizer(folder).ids("two Blue cars on the beach")
    pieces = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(pieces, key=pieces.__getitem__)) + "\n")
    (folder / "tokenizer.json").unlink()
    assert load_tokenizer(folder).ids("two Blue cars on the beach") == expected


def test_long_text_is_cut_at_35_tokens_and_said_to_be(folder: Path) -> None:
    model = load(str(folder), device="cpu")
    assert model.text_limit == 35
    assert not model.is_truncated("dog " * 33)
    assert model.is_truncated("dog " * 34)
    assert torch.equal(model.encode_text(["dog " * 34]), model.encode_text(["dog " * 99]))


def test_texts_and_images_that_do_not_pair_are_refused(folder: Path) -> None:
    model = load(str(folder), device="cpu")
    patches = torch.zeros(3, *model.patch_shape)
    with pytest.raises(InputError, match="2 texts do not pair with 3 images"):
        model.match(["a", "b"], patches)
    with pytest.raises(InputError, match="text is empty"):
        model.encode_text(["  "])


def test_loading_imports_no_compiler(tmp_path: Path) -> None:
    """torch._dynamo and sympy take longer to import than a small model to load."""
    folder = write_random_checkpoint(tmp_path / "model")
    program = (
        "import sys; from sightline.blip import load; model = load(sys.argv[1]); model.vision; "
        "print([name for name in ('torch._dynamo', 'sympy', 'transformers') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
