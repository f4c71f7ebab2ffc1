"""Jobs with each family of captioners, small and random, write what the model itself writes of the pictures.

Features come from the original, then from what was stored of it, or from the patches of the collection's own
model where both see with the same image encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline import blip
from sightline.blip.config import VisionConfig
from sightline.blip.protocols import Captioner, Encoder, captioning
from sightline.blip.random_weights import small_config, write_random_checkpoint
from sightline.blip.random_weights_blip import write_random_blip_captioner
from sightline.blip.random_weights_language import write_random_blip2_writer, write_random_instructblip
from sightline.wiring import Installation
from tests.captioner.conftest import COLLECTION, QUARTERS, images, said
from tests.sightline.conftest import picture, save

KINDS: dict[str, Callable[[Path], Path]] = {
    "blip": write_random_blip_captioner,
    "blip2-opt": write_random_blip2_writer,
    "instructblip-t5": write_random_instructblip,
}
NORM = "vision_model.post_layernorm."


def captions(services: Installation, model: Path) -> dict[str, list[str]]:
    """What a job writes."""
    job = services.captioning.begin(COLLECTION, model=str(model), n=2, sampling="nucleus")
    progress = services.indexer.wait(job.id, timeout=60)
    assert (progress.processed, progress.failed) == (len(QUARTERS), 0), progress.detail
    return said(services, "captioner")


def written_of(captioner: Captioner, features: Tensor, sha256: str) -> list[str]:
    """What the model writes from the features of one picture, with draws by its bytes; each text once."""
    number = int(sha256, 16) >> 4 * (64 - 15)
    sampling = replace(captioner.sampling("nucleus"), seed=0, images=(number,))
    [some] = captioner.caption(features, 2, sampling)
    # A random model of bytes writes some that no database stores.
    return list(dict.fromkeys(one.text.replace("\0", "\\x00") for one in some if one.text.strip()))


def known(written: dict[str, list[str]]) -> dict[str, set[str]]:
    return {name: set(some) for name, some in written.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_writes_what_the_model_writes_and_writes_it_again_from_what_is_stored(
    ready: Installation, tmp_path: Path, kind: str
) -> None:
    folder = KINDS[kind](tmp_path / "model")
    captioner = captioning(blip.load(str(folder), device="cpu", role="captioning"), kind)
    first, stored = captions(ready, folder), images(ready)
    for name, quarters in QUARTERS.items():
        seen = captioner.features(captioner.encode_patches(captioner.preprocess([picture(*quarters)])))
        wanted = written_of(captioner, seen.half().float(), stored[name].sha256)
        assert set(first[name]) == set(wanted), name
    number = ready.catalog.collection(COLLECTION).id
    own = ready.catalog.feature_set(number, captioner.fingerprint)
    assert own is not None
    assert len(ready.catalog.locations([one.key for one in images(ready).values()], own.id)) == len(QUARTERS)
    assert known(captions(ready, folder)) == known(first)


def shared(tmp_path: Path) -> tuple[Path, Path]:
    """A model that retrieves and one that writes, with one image encoder but for the norm behind it."""
    config = replace(small_config(), vision_config=VisionConfig(48, 96, 2, 4, image_size=32, patch_size=8))
    one = write_random_checkpoint(tmp_path / "retrieval", config)
    other = write_random_blip2_writer(tmp_path / "writer", seed=1)
    encoder = {
        name: tensor
        for name, tensor in load_file(one / "model.safetensors").items()
        if name.startswith("vision_model.") and not name.startswith(NORM)
    }
    tensors = load_file(other / "model.safetensors")
    assert encoder.keys() <= tensors.keys()
    save_file({**tensors, **encoder}, other / "model.safetensors", metadata={"format": "pt"})
    return one, other


def test_patches_of_a_collection_serve_a_writer_with_the_same_image_encoder(
    services: Installation, tmp_path: Path
) -> None:
    retrieval, writer = shared(tmp_path)
    files = [save(tmp_path / "photos", name, *quarters) for name, quarters in QUARTERS.items()]
    services.collections.create(COLLECTION, str(retrieval))
    job = services.indexer.index([str(file) for file in files], COLLECTION)
    assert services.indexer.wait(job.id, timeout=60).indexed == len(QUARTERS)
    for file in files:
        file.unlink()
    found, stored = captions(services, writer), images(services)
    encoder = blip.load(str(retrieval), device="cpu")
    captioner = captioning(blip.load(str(writer), device="cpu", role="captioning"), "writer")
    assert isinstance(encoder, Encoder)
    of_one, of_other = (load_file(folder / "model.safetensors") for folder in (retrieval, writer))
    for name, quarters in QUARTERS.items():
        patches = encoder.encode_patches(encoder.preprocess([picture(*quarters)])).half().double()
        plain = (patches - of_one[f"{NORM}bias"].double()) / of_one[f"{NORM}weight"].double()
        moved = plain * of_other[f"{NORM}weight"].double() + of_other[f"{NORM}bias"].double()
        with torch.inference_mode():
            features = captioner.features(moved.float())
            wanted = written_of(captioner, features, stored[f"{name}.png"].sha256)
        assert set(found[f"{name}.png"]) == set(wanted), name
