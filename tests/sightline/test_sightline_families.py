"""A collection's life with every family that embeds: index, fold, search, rerank, cache report, delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.blip import load
from sightline.blip.protocols import RetrievalModel, embedding
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.random_weights_blip import write_random_blip
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.upkeep.cache_report import Request
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index

QUERY = "a red dog on the left"
FIRST, ALL = 12, 18


def draw(folder: Path, first: int, last: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(first, last):
        rgb = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(rgb).resize((32, 32), Image.Resampling.NEAREST).save(folder / f"{number:03d}.png")


def by_hand(model: RetrievalModel, folder: Path) -> dict[str, tuple[float, float]]:
    """ITC and match logit of every picture, from its pixels, one by one."""
    vector = model.encode_text([QUERY])[0]
    found = {}
    for path in sorted(folder.iterdir()):
        patches = model.encode_patches(model.preprocess([np.asarray(Image.open(path))]))
        itc = (model.encode_image(patches)[0] @ vector).max()
        found[path.name] = (float(itc), float(model.match([QUERY], patches, "exact")[0, 1]))
    return found


def judged(services: Installation) -> dict[str, tuple[float, float]]:
    response = services.search.find(SearchRequest("pictures", QUERY, limit=ALL, precision="exact"))
    scores = [hit.score for hit in response.results]
    assert scores == sorted(scores, reverse=True)
    return {hit.id: (hit.itc, hit.itm_logit or 0.0) for hit in response.results}


@pytest.mark.parametrize("write", [write_random_blip, write_random_checkpoint])
def test_a_collection_lives_with_a_checkpoint_of_any_family(
    settings: Settings, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    checkpoint, folder = write(tmp_path / "model"), tmp_path / "pictures"
    model = embedding(load(str(checkpoint), device="cpu"), "random")
    kept = replace(settings.indexer, batch_size=6, patch_codec="latent", codec_sample=FIRST, codec_rank=40)
    named = {"model": replace(settings.model, name=str(checkpoint)), "indexer": kept}
    with open_installation(settings.model_copy(update=named), inline=True) as services:
        draw(folder, 0, FIRST)  # what the codec of the others is fitted to
        index(services, folder)
        draw(folder, FIRST, ALL)
        index(services, folder)
        assert services.builder.fold("pictures")
        kinds = {one.codec.split("-")[0] for one in services.catalog.snapshot("pictures").segments}
        assert kinds == {"fp16", "latent"}

        exact, found = by_hand(model, folder), judged(services)
        assert found.keys() == exact.keys()
        itc, logits = (
            torch.tensor([[one[name][part] for name in sorted(exact)] for one in (found, exact)])
            for part in (0, 1)
        )
        assert torch.allclose(itc[0], itc[1], atol=2e-3)  # tokens are kept in fp16
        assert float((logits[0] - logits[1]).abs().max()) < 0.2 * float(logits[1].std())

        best = max(found, key=lambda name: sum(found[name]))
        assert services.catalog.delete_images(services.catalog.collection("pictures").id, [best]) == 1
        assert judged(services).keys() == exact.keys() - {best}
        assert services.consistency.disagreements(services.catalog.collection("pictures")) == []
        report = services.cache_measurement.report(Request("pictures", [QUERY, "two blue cars"]))
        assert {level.codec is None for level in report.levels} == {True, False}
