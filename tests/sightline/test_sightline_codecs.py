"""A collection whose patches are kept in several codecs ranks as one that keeps them whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.blip.random_weights import write_random_checkpoint
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index

QUERIES = ("a red dog on the left", "two blue cars", "a house in a green tree")
RANK = 40


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("model"))


def installation(settings: Settings, model: Path, data: Path, **indexer: object) -> Settings:
    return settings.model_copy(
        update={
            "data": data,
            "model": replace(settings.model, name=str(model)),
            "indexer": replace(settings.indexer, batch_size=6, **indexer),  # type: ignore[arg-type]
        }
    )


@pytest.fixture
def whole(settings: Settings, checkpoint: Path, tmp_path: Path) -> Iterator[Installation]:
    with open_installation(installation(settings, checkpoint, tmp_path / "whole"), inline=True) as services:
        yield services


@pytest.fixture
def latent_settings(settings: Settings, checkpoint: Path, tmp_path: Path) -> Settings:
    return installation(
        settings, checkpoint, tmp_path / "mixed", patch_codec="latent", codec_sample=12, codec_rank=RANK
    )


@pytest.fixture
def mixed(latent_settings: Settings) -> Iterator[Installation]:
    with open_installation(latent_settings, inline=True) as services:
        yield services


def draw(folder: Path, first: int, last: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(first, last):
        rgb = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(rgb).resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number:03d}.png")


def fill_mixed(latent: Installation, folder: Path) -> None:
    """Twelve pictures in fp16, eight in the latent fitted to them, four in int8."""
    draw(folder, 0, 12)
    index(latent, folder)
    draw(folder, 12, 20)
    index(latent, folder)
    settings = latent.settings
    with open_installation(
        settings.model_copy(update={"indexer": replace(settings.indexer, patch_codec="int8")}), inline=True
    ) as int8:
        draw(folder, 20, 24)
        index(int8, folder)
    kinds = {segment.codec.split("-")[0] for segment in latent.catalog.snapshot("pictures").uncovered}
    assert kinds == {"fp16", "latent", "int8"}


def logits(services: Installation, query: str) -> dict[str, float]:
    found = services.search.find(SearchRequest("pictures", query, limit=24)).results
    return {hit.id: hit.itm_logit for hit in found if hit.itm_logit is not None}


def test_a_mixed_collection_ranks_as_an_uncompressed_one(
    whole: Installation, mixed: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    fill_mixed(mixed, folder)
    index(whole, folder)
    for query in QUERIES:
        ours, exact = logits(mixed, query), logits(whole, query)
        assert ours.keys() == exact.keys()
        assert len(exact) == 24
        names = sorted(exact)
        found, wanted = np.array([ours[name] for name in names]), np.array([exact[name] for name in names])
        spread = wanted.std()
        assert np.abs(found - wanted).max() < 0.2 * spread
        assert np.abs(found - wanted).max() > 0, "compression leaves a trace, else it was not read"
        apart = np.abs(wanted[:, None] - wanted[None, :]) > 0.4 * spread
        order = np.sign(found[:, None] - found[None, :]) == np.sign(wanted[:, None] - wanted[None, :])
        assert order[apart].all(), "images that differ clearly keep their order"


def test_without_its_codec_the_doctor_names_it_and_searches_use_the_originals(
    mixed: Installation, latent_settings: Settings, tmp_path: Path
) -> None:
    fill_mixed(mixed, tmp_path / "pictures")
    before = logits(mixed, QUERIES[0])
    assert mixed.consistency.disagreements(mixed.catalog.collection("pictures")) == []
    (file,) = (mixed.settings.segments_folder / "codecs").rglob("*.safetensors")
    codec = file.name.split(".")[0]
    content = file.read_bytes()
    for damage in (None, content[:-1] + bytes([content[-1] ^ 1])):
        file.unlink(missing_ok=True)
        if damage is not None:
            file.write_bytes(damage)
        with open_installation(latent_settings, inline=True) as fresh:
            (said,) = fresh.consistency.disagreements(fresh.catalog.collection("pictures"), quick=True)
            assert codec in said
            found = logits(fresh, QUERIES[0])
    assert found.keys() == before.keys()
    assert max(abs(found[name] - before[name]) for name in found) < 0.1
    file.unlink()
    with open_installation(latent_settings, inline=True) as fresh:
        repairs = list(fresh.repair.run())
        assert [one.problem for one in repairs] == [None] * len(repairs)
        assert sum(one.images for one in repairs) == 8
        assert fresh.consistency.disagreements(fresh.catalog.collection("pictures")) == []
        assert logits(fresh, QUERIES[0]).keys() == before.keys()


def test_a_damaged_segment_is_made_again_in_its_codec(mixed: Installation, tmp_path: Path) -> None:
    fill_mixed(mixed, tmp_path / "pictures")
    before = logits(mixed, QUERIES[1])
    segments = mixed.catalog.snapshot("pictures").uncovered
    for segment in segments:
        (mixed.settings.segments_folder / segment.file).unlink()
        mixed.segments.forget(segment.file)
    assert all(one.problem is None for one in mixed.repair.run())
    again = mixed.catalog.snapshot("pictures").uncovered
    assert sorted(one.codec for one in again) == sorted(one.codec for one in segments)
    found = logits(mixed, QUERIES[1])
    assert max(abs(found[name] - before[name]) for name in before) < 1e-4
