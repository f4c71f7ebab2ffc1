"""``sightline doctor --model`` tells what a checkpoint is and needs, and reads none of its weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sightline.blip import load
from sightline.blip.inspection import inspect
from sightline.blip.random_weights import write_random_checkpoint
from tests.sightline.conftest import Run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("doctor") / "model")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def test_the_report_counts_what_the_loaded_model_holds(folder: Path, sightline: Run) -> None:
    ended = sightline("doctor", "--model", str(folder), "--json")
    assert ended.code == 0, ended.stderr
    told = ended.answer
    model = load(str(folder), device="cpu")
    assert told["loads"] is True
    assert told["roles"] == ["embeds", "judges", "captions"]
    assert (told["image_size"], told["patch_shape"]) == (32, list(model.patch_shape))
    assert (told["num_query_tokens"], told["joint_dim"]) == (32, 256)
    assert (told["missing"], told["problems"], told["stored_types"]) == ([], [], ["F32"])
    weights = sum(value.numel() for value in load_file(folder / "model.safetensors").values())
    assert sum(part["parameters"] for part in told["parts"]) == weights
    assert sum(part["float32_bytes"] for part in told["parts"]) == told["memory_needed"] == 4 * weights
    sizes = {file["name"]: file["bytes"] for file in told["files"]}
    assert sizes["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    assert told["download_bytes"] == 0
    table = sightline("doctor", "--model", str(folder))
    assert table.code == 0
    assert "every tensor that it needs is there" in table.stdout


def test_a_lacking_tensor_is_named_though_no_weights_are_there_to_load(folder: Path, sightline: Run) -> None:
    path = folder / "model.safetensors"
    lost = ["itm_head.weight", "vision_model.encoder.layers.2.mlp.fc2.bias"]
    save_file({name: value for name, value in load_file(path).items() if name not in lost}, path)
    content = path.read_bytes()
    with path.open("r+b") as file:  # the header stays, and every number becomes zero
        file.truncate(8 + int.from_bytes(content[:8], "little"))
        file.truncate(len(content))
    ended = sightline("doctor", "--model", str(folder), "--json")
    assert ended.code == 1
    assert set(ended.answer["missing"]) == set(lost)
    assert lost[1] in ended.answer["problems"][0]
    assert lost[1] in sightline("doctor", "--model", str(folder)).stdout


def test_half_a_file_and_a_wrong_processor_are_told_together(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    raw = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(raw | {"do_resize": False}))
    told = inspect(str(folder))
    assert not told.loads
    assert len(told.problems) == 2
    assert "only half downloaded" in told.problems[0]
    assert "do_resize" in told.problems[1]


def test_a_hub_that_gives_no_answer_is_a_sentence(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sightline.errors import ModelUnavailableError\n"
        "from sightline.blip.inspection_files import found_files\n"
        "try: found_files('some/model', None, Path(sys.argv[1]), 'retrieval')\n"
        "except ModelUnavailableError as error: print(error)\n"
    )
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=nobody, timeout=120
    )
    assert done.stdout.startswith("The model some/model is neither in the cache"), done.stderr


def test_a_model_that_is_nowhere_is_a_sentence(sightline: Run, tmp_path: Path) -> None:
    ended = sightline("doctor", "--model", "./not/here")
    assert ended.code == 5
    assert ended.stderr.count("\n") == 1
    (tmp_path / "empty").mkdir()
    ended = sightline("doctor", "--model", str(tmp_path / "empty"))
    assert ended.code != 0
    assert "config.json" in ended.stderr
