"""Models by name: known without torch, loaded once, refused when their files are not the collection's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.blip.arithmetics import VisionArithmetics
from sightline.blip.blip2 import Blip2
from sightline.blip.int8_linear import weight_top
from sightline.blip.measured import Measured
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.vision_check import VisionVerdict
from sightline.errors import CheckpointError, ConflictError, ModelMismatchError, ModelUnavailableError
from sightline.records import SearchRequest
from sightline.serving.models import ModelProvider
from sightline.serving.settings import ModelSettings
from sightline.settings import Settings
from sightline.store.machine_files import MachineFiles
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import ROOT, Run, index, save


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BLIP-2 with random weights."""
    return write_random_checkpoint(tmp_path_factory.mktemp("models") / "small")


def test_identifying_reads_files_and_imports_no_torch(checkpoint: Path) -> None:
    program = (
        "import sys; from sightline.serving.models import ModelProvider; "
        "print(ModelProvider().identify(sys.argv[1]).fingerprint, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(checkpoint)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    fingerprint, torch_there = done.stdout.split()
    assert torch_there == "False"
    loaded = ModelProvider().load(str(checkpoint))
    identity = ModelProvider().identify(str(checkpoint))
    assert loaded.fingerprint == identity.fingerprint == fingerprint
    assert (loaded.num_query_tokens, loaded.joint_dim) == (identity.num_query_tokens, identity.joint_dim)
    assert tuple(loaded.patch_shape) == identity.patch_shape


def test_a_model_is_loaded_once_whatever_it_is_called(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ModelProvider()
    first = models.load(str(checkpoint))
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert models.load(str(copy)) is first
    assert models.load("copy") is first
    assert models.identify("copy").model == str(copy)
    assert models.loaded() == [first.fingerprint]


def test_a_model_is_one_object_whatever_it_is_wanted_for(checkpoint: Path) -> None:
    models = ModelProvider()
    captioner = models.captioner(str(checkpoint))
    assert captioner is models.load(str(checkpoint))
    assert models.loaded() == [captioner.fingerprint]
    with pytest.raises(CheckpointError, match="answers no questions"):
        models.answerer(str(checkpoint))


def test_a_model_that_writes_no_captions_is_refused_before_a_job_waits_for_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    models = ModelProvider()
    assert models.identify_writer(str(checkpoint), "captioning").fingerprint
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "itg_head.safetensors").unlink()
    with pytest.raises(CheckpointError, match="writes no captions"):
        models.identify_writer(str(copy), "captioning")


def test_demo_names_are_resolved_by_what_they_are_wanted_for() -> None:
    models = ModelProvider()
    writer = models.captioner("toy")
    assert models.answerer("toy") is writer
    identity = models.identify_writer("toy", "asking")
    assert (identity.fingerprint, identity.patch_shape) == (writer.fingerprint, writer.patch_shape)
    assert models.load("toy").fingerprint == models.identify("toy").fingerprint != writer.fingerprint
    assert sorted(models.loaded()) == sorted([writer.fingerprint, models.load("toy").fingerprint])


def test_a_folder_goes_through_the_whole_house(
    checkpoint: Path, services: Installation, tmp_path: Path
) -> None:
    for name, quarters in {"a": ("red", "blue"), "b": ("purple",), "c": ("green",)}.items():
        save(tmp_path / "pictures", name, *quarters)
    services.collections.create("pictures", str(checkpoint))
    index(services, tmp_path / "pictures")
    by_itm = services.search.find(SearchRequest("pictures", "red and blue", score="itm"))
    assert len(by_itm.results) == by_itm.scored == 3
    logits = [hit.itm_logit or 0 for hit in by_itm.results]
    assert logits == sorted(logits, reverse=True)


def test_files_that_changed_are_another_model(
    checkpoint: Path, services: Installation, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    services.collections.create("pictures", str(folder))
    shutil.rmtree(folder)
    write_random_checkpoint(folder, seed=1)
    with pytest.raises(ModelMismatchError, match="files have changed"):
        ModelProvider().encoder(services.catalog.collection("pictures"))


def test_a_collection_refuses_another_model(checkpoint: Path, services: Installation) -> None:
    services.collections.create("pictures")
    assert services.collections.create("pictures").model == "toy"
    with pytest.raises(ConflictError):
        services.collections.create("pictures", str(checkpoint))


def test_a_model_that_is_nowhere_is_a_sentence_with_a_way_out(sightline: Run, tmp_path: Path) -> None:
    picture = save(tmp_path, "a", "red")
    done = sightline("rerank", "red", str(picture), "--model", "nobody/no-such-model-of-ours")
    assert done.code == 5
    assert "nobody/no-such-model-of-ours" in done.stderr
    assert "--model demo" in done.stderr
    with pytest.raises(ModelUnavailableError):
        ModelProvider().identify("./not/here")


def test_searches_from_the_cache_never_load_the_vit(
    checkpoint: Path, services: Installation, settings: Settings, tmp_path: Path
) -> None:
    for name, quarters in {"a": ("red", "blue"), "b": ("purple",)}.items():
        save(tmp_path / "pictures", name, *quarters)
    services.collections.create("pictures", str(checkpoint))
    index(services, tmp_path / "pictures")
    with open_installation(settings) as server:
        found = server.search.find(SearchRequest("pictures", "red and blue"))
        assert found.scored == 2
        model = server.models.encoder(server.catalog.collection("pictures"))
        assert isinstance(model, Blip2)
        assert not model.vision.loaded
        for file in server.settings.segments_folder.glob("*.segment.safetensors"):
            server.segments.forget(file.name)
            file.unlink()
        assert server.search.find(SearchRequest("pictures", "red and blue")) != found
        assert model.vision.loaded


@pytest.mark.skipif(weight_top() is None, reason="this processor multiplies no int8")
@pytest.mark.parametrize(("tau", "kind"), [(0.99, "int8"), (0.97, "float32")])
def test_int8_is_loaded_where_the_verdict_on_the_checkpoint_allows_it(
    checkpoint: Path, tmp_path: Path, tau: float, kind: str
) -> None:
    known = Measured(MachineFiles(tmp_path / "precision"))
    fingerprint = ModelProvider().identify(str(checkpoint)).fingerprint
    known.keep_verdict(fingerprint, VisionVerdict(200, 0.999, tau, 0.99))
    cpu = ModelSettings(device="cpu")
    loaded = ModelProvider(cpu, measured=known).load(str(checkpoint))
    assert isinstance(loaded, VisionArithmetics)
    assert str(loaded.vision_dtype) == f"torch.{kind}"
    asked = ModelProvider(replace(cpu, dtype="bfloat16"), measured=known).load(str(checkpoint))
    assert isinstance(asked, VisionArithmetics)
    assert str(asked.vision_dtype) == "torch.bfloat16"
