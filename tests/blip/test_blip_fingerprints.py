"""A fingerprint says what a checkpoint means; the former one still opens what it bound."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sightline.blip.fingerprints import ReadDigests, fingerprint, former_fingerprint, tensor_digests
from sightline.blip.random_weights import write_random_checkpoint


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("fingerprints") / "model")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_tensor(path: Path, name: str) -> None:
    tensors = load_file(path)
    tensors[name].view(-1)[-1] += 1
    save_file(tensors, path)


def reorder(folder: Path) -> None:
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(dict(reversed(content.items())), indent=7))


def shard(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    for file, part in (("a.safetensors", names[:9]), ("b.safetensors", names[9:])):
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"written": "today"})
    placed = {name: "ab"[place >= 9] + ".safetensors" for place, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    (folder / "model.safetensors").unlink()


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "JSON in another order": reorder,
    "shards": shard,
    "where it came from": lambda folder: edit(
        folder / "config.json",
        lambda raw: raw.update(transformers_version="5", _name_or_path="x", torch_dtype="float16"),
    ),
    "files that nobody reads": lambda folder: (folder / "README.md").write_text("hello"),
    "settings of stock's generate": lambda folder: (folder / "generation_config.json").write_text("{}"),
    "a vocabulary beside tokenizer.json": lambda folder: (folder / "vocab.txt").write_text("[PAD]"),
}
MEANINGS: dict[str, Callable[[Path], object]] = {
    "a weight": lambda folder: change_tensor(folder / "model.safetensors", "itm_head.weight"),
    "a weight of the image encoder": lambda folder: change_tensor(
        folder / "model.safetensors", "vision_model.post_layernorm.bias"
    ),
    "a weight of the ITG head": lambda folder: change_tensor(
        folder / "itg_head.safetensors", "transform.dense.bias"
    ),
    "no ITG head": lambda folder: (folder / "itg_head.safetensors").unlink(),
    "the type of the weights": lambda folder: save_file(
        {name: value.half() for name, value in load_file(folder / "model.safetensors").items()},
        folder / "model.safetensors",
    ),
    "a value of the configuration": lambda folder: edit(
        folder / "config.json", lambda raw: raw["vision_config"].update(layer_norm_eps=1e-5)
    ),
    "a value of the processor": lambda folder: edit(
        folder / "preprocessor_config.json", lambda raw: raw.update(do_normalize=False)
    ),
    "a word of the tokenizer": lambda folder: edit(
        folder / "tokenizer.json", lambda raw: raw["model"]["vocab"].update(dtype=3)
    ),
}


@pytest.mark.parametrize("what", LAYOUTS)
def test_the_layout_of_files_says_nothing(original: Path, folder: Path, what: str) -> None:
    LAYOUTS[what](folder)
    assert fingerprint(folder) == fingerprint(original)


@pytest.mark.parametrize("what", MEANINGS)
def test_whatever_changes_an_answer_changes_the_fingerprint(original: Path, folder: Path, what: str) -> None:
    MEANINGS[what](folder)
    assert fingerprint(folder) != fingerprint(original)


def test_two_tensors_that_change_places_are_noticed(original: Path, folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    one, other = "vision_projection.bias", "text_projection.bias"
    save_file(tensors | {one: tensors[other], other: tensors[one]}, path)
    assert fingerprint(folder) != fingerprint(original)


def test_the_second_tokenizer_of_an_instructblip_counts(folder: Path) -> None:
    second = folder / "qformer_tokenizer" / "tokenizer.json"
    second.parent.mkdir()
    second.write_text((folder / "tokenizer.json").read_text())
    before = fingerprint(folder)
    edit(second, lambda raw: raw["model"].update(max_input_chars_per_word=9))
    assert fingerprint(folder) != before


def test_digests_of_tensors_are_over_their_own_bytes(folder: Path) -> None:
    path = folder / "model.safetensors"
    expected = {
        name: hashlib.sha256(f"F32 {list(value.shape)}\n".encode() + value.numpy().tobytes()).hexdigest()
        for name, value in load_file(path).items()
    }
    assert tensor_digests(path) == expected


def test_the_former_fingerprint_is_that_of_version_0_1(folder: Path) -> None:
    (folder / "vocab.txt").write_text("[PAD]\n")
    names = [
        "config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "vocab.txt",
    ]
    total = hashlib.sha256()
    for name in [*names, "model.safetensors"]:
        total.update(f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    assert former_fingerprint(folder) == total.hexdigest()


def test_a_hub_checkpoint_has_the_former_fingerprint_without_a_read_of_its_weights(folder: Path) -> None:
    class NoWeights(ReadDigests):
        def of(self, file: Path) -> str:
            assert file.suffix != ".safetensors"
            return super().of(file)

    plain, path = former_fingerprint(folder), folder / "model.safetensors"
    blob = folder.parent / hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(blob)
    path.symlink_to(blob)
    assert former_fingerprint(folder, NoWeights()) == plain
    assert torch.equal(load_file(path)["itm_head.bias"], load_file(blob)["itm_head.bias"])
