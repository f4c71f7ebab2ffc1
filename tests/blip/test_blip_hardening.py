"""Files of a checkpoint as they come: whatever is wrong with them ends in one sentence."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sightline.blip import load
from sightline.blip.activations import activation, is_erf_gelu
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import list_tensors
from sightline.blip.config_values import ACTIVATIONS
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.random_weights_blip import write_random_blip
from sightline.blip.registry import family_of
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import CheckpointError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
TEXTS = ["a red dog"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("hardening") / "model")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    for name, value in changes.items():
        inside, _, key = name.rpartition("__")
        (content[inside] if inside else content)[key] = value
    path.write_text(json.dumps(content))


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(str(folder), device="cpu")
    said = str(caught.value)
    assert said[0].isupper() or said.startswith(str(folder))
    assert said.endswith(".")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "itg_head.safetensors",
        "preprocessor_config.json",
    ],
)
def test_a_git_lfs_pointer_is_called_one(folder: Path, name: str) -> None:
    (folder / name).write_text(POINTER)
    assert f"{folder / name} is a git-lfs pointer" in refused(folder).replace("The file ", "")


def test_a_pointer_in_place_of_a_vocabulary_is_called_one(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text(POINTER)
    assert "git-lfs pointer" in refused(folder)


@pytest.mark.parametrize("kept", [0, 3, 8, 100, 0.1, 0.5, 0.999])
def test_half_a_file_is_noticed_before_anything_is_read(folder: Path, kept: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    assert "only half downloaded" in refused(folder)


def with_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the file again with another header before the same bytes."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    made = change(header)
    raw = made if isinstance(made, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + content[end:])


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "longer than the file": lambda header: header["itm_head.bias"].update(data_offsets=[0, 1 << 60]),
    "another size than the shape": lambda header: header["itm_head.bias"].update(shape=[1 << 40]),
    "negative": lambda header: header["itm_head.bias"].update(data_offsets=[-8, 0]),
    "no numbers": lambda header: header["itm_head.bias"].update(shape="2"),
    "an unknown type": lambda header: header["itm_head.bias"].update(dtype="F4"),
    "a type that is a list": lambda header: header["itm_head.bias"].update(dtype=["F32"]),
    "no object": lambda header: header.update({"itm_head.bias": 3}),
    "a hole": lambda header: header.pop("itm_head.bias"),
    "two in one place": lambda header: header.update(extra=header["itm_head.bias"]),
    "no JSON": lambda header: b"{",
    "a list": lambda header: b"[]",
    "deep": lambda header: b"[" * 100_000,
    "a name twice": lambda header: b'{"a":{},"a":{}}',
}


@pytest.mark.parametrize("how", HEADERS)
def test_a_header_that_lies_is_not_believed(folder: Path, how: str) -> None:
    with_header(folder / "model.safetensors", HEADERS[how])
    assert "model.safetensors" in refused(folder)


@pytest.mark.parametrize("length", [101_000_000, 1 << 40, (1 << 64) - 1])
def test_a_huge_header_is_never_read(folder: Path, length: int) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(200_000_000)  # sparse: the header would fit
        file.write(length.to_bytes(8, "little"))
    assert f"{length} bytes" in refused(folder)


def sharded(folder: Path) -> dict[str, str]:
    """Put the weights into two shards; gives the index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    for file, part in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        save_file({name: tensors[name] for name in part}, folder / file)
    (folder / "model.safetensors").unlink()
    return {name: "ab"[place % 2] + ".safetensors" for place, name in enumerate(names)}


INDEXES: dict[str, tuple[Callable[[dict[str, str]], object], str]] = {
    "missing": (lambda placed: {"weight_map": placed | {"x": "c.safetensors"}}, "lacks c.safetensors"),
    "outside": (lambda placed: {"weight_map": placed | {"x": "../c.safetensors"}}, "of the same folder"),
    "absolute": (lambda placed: {"weight_map": placed | {"x": "/etc/c.safetensors"}}, "of the same folder"),
    "pickled": (lambda placed: {"weight_map": placed | {"x": "c.bin"}}, "of the same folder"),
    "no name": (lambda placed: {"weight_map": placed | {"x": 3}}, "of the same folder"),
    "not in the shard": (lambda placed: {"weight_map": placed | {"x": "a.safetensors"}}, "where it is not"),
    "no map": (lambda placed: {"weight_map": []}, "names no files"),
    "no object": (lambda placed: [], "no JSON object"),
}


@pytest.mark.parametrize("how", INDEXES)
def test_an_index_of_shards_is_checked(folder: Path, how: str) -> None:
    make, said = INDEXES[how]
    (folder / "model.safetensors.index.json").write_text(json.dumps(make(sharded(folder))))
    assert said in refused(folder)
    (folder / "model.safetensors.index.json").write_text("{")
    assert "not readable as JSON" in refused(folder)


CONFIG_VALUES: list[dict[str, object]] = [
    {"vision_config__patch_size": [8, 8]},
    {"vision_config__patch_size": 0},
    {"vision_config__patch_size": 64},
    {"vision_config__image_size": "32"},
    {"vision_config__image_size": {"height": 32}},
    {"vision_config__hidden_size": -48},
    {"vision_config__hidden_size": 10**12},
    {"vision_config__hidden_size": 48.5},
    {"vision_config__hidden_size": True},
    {"vision_config__num_attention_heads": 5},
    {"vision_config__num_hidden_layers": 10**9},
    {"vision_config__layer_norm_eps": "1e-6"},
    {"vision_config__layer_norm_eps": float("nan")},
    {"vision_config__qkv_bias": "false"},
    {"vision_config__hidden_act": "gelu_special"},
    {"vision_config__hidden_act": ["gelu"]},
    {"vision_config": [1, 2]},
    {"qformer_config": "small"},
    {"qformer_config__num_hidden_layers": 0},
    {"qformer_config__cross_attention_frequency": 0},
    {"qformer_config__use_qformer_text_input": 1},
    {"qformer_config__hidden_act": "swiglu"},
    {"num_query_tokens": [32]},
    {"num_query_tokens": 10**10},
    {"image_text_hidden_size": None, "num_query_tokens": 7},
    {"architectures": [["x"]]},
    {"model_type": ["blip-2"]},
]


@pytest.mark.parametrize("changes", CONFIG_VALUES, ids=str)
def test_values_of_another_type_or_beyond_reason_are_refused(
    folder: Path, changes: dict[str, object]
) -> None:
    edit(folder / "config.json", **changes)
    refused(folder)


PROCESSORS: list[tuple[dict[str, object], str]] = [
    ({"do_resize": False}, "do_resize"),
    ({"do_center_crop": True}, "do_center_crop"),
    ({"do_pad": True}, "do_pad"),
    ({"size": {"height": 32, "width": 48}}, "square of 32 px"),
    ({"size": {"shortest_edge": 32}}, "height and width"),
    ({"size": {"height": 384, "width": 384}}, "384 px, the image encoder takes 32 px"),
    ({"size": 364}, "364 px, the image encoder takes 32 px"),
    ({"resample": 7}, "resample"),
    ({"resample": "bicubic"}, "resample"),
    ({"do_normalize": "no"}, "do_normalize"),
    ({"rescale_factor": 0}, "rescale_factor"),
    ({"image_std": [0, 0, 0]}, "image_std"),
    ({"image_mean": [0.5, 0.5]}, "image_mean"),
    ({"image_mean": "0.5"}, "image_mean"),
]


@pytest.mark.parametrize(("changes", "said"), PROCESSORS, ids=str)
def test_what_an_image_processor_asks_beyond_the_known_is_refused(
    folder: Path, changes: dict[str, object], said: str
) -> None:
    edit(folder / "preprocessor_config.json", **changes)
    assert said in refused(folder)


HONOURED: list[dict[str, object]] = [
    {},
    {"do_normalize": False},
    {"do_rescale": False},
    {"rescale_factor": 1 / 127.5},
    {"resample": 2},
    {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
]


@pytest.mark.parametrize("new_format", [False, True])
@pytest.mark.parametrize("changes", HONOURED, ids=str)
def test_pixels_are_those_of_the_stock_processor(
    folder: Path, changes: dict[str, object], new_format: bool
) -> None:
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    path = folder / "preprocessor_config.json"
    edit(path, **changes)
    stock = BlipImageProcessorPil(**json.loads(path.read_text()))
    if new_format:
        edit(folder / "processor_config.json", image_processor=json.loads(path.read_text()))
        path.unlink()
    picture = np.random.default_rng(0).integers(0, 256, (40, 25, 3), np.uint8)
    expected = torch.as_tensor(np.asarray(stock(picture, return_tensors="np")["pixel_values"]))
    found = load(str(folder), device="cpu").preprocess([picture])
    assert torch.allclose(found, expected, atol=1e-5 * max(1, float(expected.abs().max())))


def test_activations_are_those_of_transformers() -> None:
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 1001)
    for name in ACTIVATIONS:
        assert torch.allclose(activation(name)(x), ACT2FN[name](x), atol=1e-5), name
    assert is_erf_gelu("gelu")
    assert not is_erf_gelu("gelu_new")


@pytest.mark.parametrize("section", ["vision_config", "qformer_config"])
def test_another_activation_is_used_and_equals_stock(folder: Path, section: str) -> None:
    from transformers import Blip2ForImageTextRetrieval

    edit(folder / "config.json", **{f"{section}__hidden_act": "quick_gelu"})
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    ours = load(str(folder), device="cpu")
    pixels = ours.preprocess([picture])
    stock = Blip2ForImageTextRetrieval.from_pretrained(folder).eval()
    with torch.no_grad():
        patches = stock.vision_model(pixels).last_hidden_state
        queries = stock.qformer(
            query_embeds=stock.query_tokens, encoder_hidden_states=patches
        ).last_hidden_state
        tokens = torch.nn.functional.normalize(stock.vision_projection(queries), dim=-1)
    assert torch.allclose(ours.encode_patches(pixels), patches, atol=1e-4)
    assert torch.allclose(ours.encode_image(patches), tokens, atol=1e-5)


def test_qkv_without_a_bias_is_loaded(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    zero = {name: torch.zeros_like(value) for name, value in tensors.items() if name.endswith("qkv.bias")}
    save_file(tensors | zero, path)
    picture = [np.full((32, 32, 3), 90, np.uint8)]
    expected = load(str(folder), device="cpu")
    patches = expected.encode_patches(expected.preprocess(picture))
    save_file({name: value for name, value in tensors.items() if name not in zero}, path)
    edit(folder / "config.json", vision_config__qkv_bias=False)
    without = load(str(folder), device="cpu")
    assert torch.allclose(without.encode_patches(without.preprocess(picture)), patches, atol=1e-6)


def test_weights_for_another_size_of_picture_are_refused_naming_both(folder: Path) -> None:
    edit(folder / "config.json", vision_config__image_size=64)
    edit(folder / "preprocessor_config.json", size={"height": 64, "width": 64})
    said = refused(folder)
    assert "32 px" in said
    assert "64 px" in said


def test_a_missing_tensor_of_the_image_encoder_is_named_at_once(folder: Path) -> None:
    path = folder / "model.safetensors"
    name = "vision_model.encoder.layers.1.mlp.fc2.bias"
    save_file({one: value for one, value in load_file(path).items() if one != name}, path)
    assert name in refused(folder)


def test_an_itg_head_of_another_checkpoint_is_refused(folder: Path) -> None:
    path = folder / "itg_head.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"bias": torch.zeros(5)}, path)
    assert "bias is [5]" in refused(folder)
    del tensors["transform.dense.bias"]
    save_file(tensors, path)
    assert "transform.dense.bias" in refused(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_tensors_that_nobody_needs_are_taken(folder: Path, dtype: torch.dtype) -> None:
    path = folder / "model.safetensors"
    tensors = {name: value.to(dtype) for name, value in load_file(path).items()}
    save_file({name: value.float() for name, value in tensors.items()}, path)
    edit(folder / "config.json", torch_dtype="float16")
    expected = load(str(folder), device="cpu").encode_text(TEXTS)
    save_file(tensors | {"embeddings.position_ids": torch.arange(64)[None]}, path)
    assert torch.equal(load(str(folder), device="cpu").encode_text(TEXTS), expected)


def test_whole_numbers_in_place_of_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"itm_head.bias": torch.zeros(2, dtype=torch.int8)}, path)
    assert "of the type I8" in refused(folder)


def test_added_tokens_beside_a_vocabulary_have_their_ids(tmp_path: Path) -> None:
    folder = write_random_blip(tmp_path / "model")
    whole = load_tokenizer(folder)
    pieces = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    added = {"[DEC]": len(pieces), "[ENC]": len(pieces) + 1}
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(pieces, key=pieces.__getitem__)) + "\n")
    (folder / "added_tokens.json").write_text(json.dumps(added))
    found = load_tokenizer(folder)
    assert found.dec == added["[DEC]"]
    assert found.decode([found.cls, pieces["dog"], added["[ENC]"]]) == "dog"
    for text in ("two Blue cars on the beach", "a [DEC] of [ENC]"):
        assert found.ids(text) == whole.ids(text)
    (folder / "added_tokens.json").write_text(json.dumps({"[DEC]": "30522"}))
    with pytest.raises(CheckpointError, match=r"'\[DEC\]'"):
        load_tokenizer(folder)


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Copies with a few bytes changed, cut out, doubled, or put in."""
    draw = random.Random(seed)
    for _ in range(count):
        made = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(made))
            match draw.randrange(4):
                case 0:
                    made[place] = draw.randrange(256)
                case 1:
                    del made[place : place + draw.randint(1, 8)]
                case 2:
                    made[place:place] = made[place : place + draw.randint(1, 8)]
                case 3:
                    made[place:place] = draw.choice([b"-", b"9", b"e9", b"[", b"}", b'"', b"null", b"\xff"])
        yield bytes(made)


def outcome(folder: Path, early: Callable[[Path], object]) -> Blip2 | None:
    """The model; None where it is refused. ``early``: what loading does first, and cheaply."""
    try:
        early(folder)
        found = load(str(folder), device="cpu", fingerprint="f")
    except CheckpointError as error:
        return None if str(error).endswith(".") else pytest.fail(f"no sentence: {error}")
    assert isinstance(found, Blip2)
    return found


def test_whatever_bytes_of_a_configuration_change_it_loads_or_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    content, loaded = path.read_bytes(), 0
    for made in mutations(content, 150, seed=10):
        path.write_bytes(made)
        loaded += outcome(folder, lambda folder: family_of(folder).dimensions(folder)) is not None
    assert 0 < loaded < 130


def test_whatever_bytes_of_a_header_change_it_loads_the_same_or_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    expected = load(str(folder), device="cpu", fingerprint="f").encode_text(TEXTS)
    loaded = 0
    for made in mutations(content[:end], 350, seed=11):
        path.write_bytes(made + content[end:])
        found = outcome(folder, list_tensors)
        if found is not None:
            loaded += 1
            assert torch.equal(found.encode_text(TEXTS), expected)
    assert loaded < 300
