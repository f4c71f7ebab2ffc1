"""In which arithmetic an installation scores pairs: what a check found on its pictures, and nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.blip import int8_linear
from sightline.blip.blip2 import Blip2
from sightline.blip.random_weights import write_random_checkpoint
from sightline.serving.verdicts import Trial, VerdictFiles, verdict
from sightline.settings import Settings
from sightline.upkeep.precision_check import PrecisionCheck, SampleSize
from sightline.upkeep.precision_watch import PrecisionWatch
from sightline.wiring import Installation, open_installation

CPU = torch.device("cpu")
PICTURES = 24
needs_int8 = pytest.mark.skipif(int8_linear.weight_top() is None, reason="no int8 products in this build")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with some pictures and their patches, and a random model."""
    folder = tmp_path_factory.mktemp("precision")
    empty = Settings(data=folder / "data")
    model = replace(empty.model, name=str(write_random_checkpoint(folder / "model")), device="cpu")
    settings = empty.model_copy(update={"model": model})
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
    with open_installation(settings, inline=True) as services:
        services.collections.create("pictures")
        job = services.indexer.index([str(folder / "pictures")], "pictures")
        services.indexer.wait(job.id, timeout=60)
    return settings


@pytest.fixture
def services(settings: Settings) -> Iterator[Installation]:
    """It, without a verdict so far, and with no model in memory."""
    for path in (settings.data_folder / "precision").glob("*"):
        path.unlink()
    with open_installation(settings, inline=True) as services:
        yield services


def loaded(services: Installation) -> Blip2:
    model = services.models.encoder(services.catalog.collection("pictures"))
    assert isinstance(model, Blip2)
    return model


def keep(services: Installation, *trials: Trial) -> Path:
    """A verdict from trials, on disk."""
    name = services.settings.model.name
    fingerprint = services.models.identify(name).fingerprint
    services.verdicts.write(verdict(fingerprint, list(trials), 10.0, 100, 20, CPU), CPU)
    return services.verdicts.path(fingerprint, CPU)


def watch(services: Installation, pictures: int) -> PrecisionWatch:
    size = SampleSize(pictures, texts=3, first_pictures=12, first_texts=2)
    check = PrecisionCheck(
        services.catalog, services.segments, services.patches, services.models, services.verdicts, size
    )
    return PrecisionWatch(services.catalog, services.models, services.scheduler, check)


PASSED = Trial("int8", 0.99, 0.99, 4.0, passed=True)


@needs_int8
def test_a_model_is_loaded_in_the_arithmetic_of_its_verdict(services: Installation) -> None:
    keep(services, PASSED)
    assert loaded(services).scorers.arithmetic == "int8"


@pytest.mark.parametrize(
    "trial",
    [replace(PASSED, passed=False), replace(PASSED, milliseconds=11.0)],
    ids=["refused", "slower"],
)
def test_what_failed_or_is_slower_is_not_chosen(services: Installation, trial: Trial) -> None:
    keep(services, trial)
    assert loaded(services).scorers.arithmetic == "float32"


@pytest.mark.parametrize(
    "damage",
    [
        "half",
        "text",
        "deep",
        "check",
        "machine",
        "unknown",
        "contradiction",
        "low",
        "nan",
        "above",
        "words",
        "nothing",
        "true",
    ],
)
def test_a_damaged_or_foreign_verdict_counts_as_none_and_is_told_once(
    services: Installation, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = keep(services, PASSED)
    raw = json.loads(path.read_text())
    written = {
        "half": path.read_text()[:100],
        "text": "[]",
        "deep": "[" * 200_000,
        "machine": json.dumps({**raw, "machine": ["cpu", "another"]}),
        "low": json.dumps({**raw, "trials": [{**raw["trials"][0], "tau": 0.1}]}),
        "nan": json.dumps({**raw, "trials": [{**raw["trials"][0], "top10": float("nan")}]}),
        "above": json.dumps({**raw, "trials": [{**raw["trials"][0], "tau": 5}]}),
        "words": json.dumps({**raw, "trials": [{**raw["trials"][0], "tau": "0.99"}]}),
        "nothing": json.dumps({**raw, "pictures": 0}),
        "true": json.dumps({**raw, "check": True}),
        "check": json.dumps({**raw, "check": 0}),
        "unknown": json.dumps({**raw, "arithmetic": "int3"}),
        "contradiction": json.dumps({**raw, "arithmetic": "bfloat16"}),
    }
    path.write_text(written[damage])
    with caplog.at_level(logging.WARNING, "sightline.serving.verdicts"):
        assert loaded(services).scorers.arithmetic == "float32"
    assert ["float32" in record.getMessage() for record in caplog.records] == [True]


def test_of_nearly_equal_times_the_closer_arithmetic_is_chosen() -> None:
    closer = Trial("bfloat16", 0.999, 1.0, 4.2, passed=True)
    assert verdict("of", [PASSED, closer], 10.0, 100, 20, CPU).arithmetic == "bfloat16"
    assert verdict("of", [PASSED, replace(closer, milliseconds=4.5)], 10.0, 100, 20, CPU).arithmetic == "int8"


def test_a_disk_that_takes_no_verdict_costs_no_report(tmp_path: Path) -> None:
    (tmp_path / "precision").write_text("in the way")
    VerdictFiles(tmp_path / "precision").write(verdict("of", [PASSED], 10.0, 100, 20, CPU), CPU)
    assert (tmp_path / "precision").read_text() == "in the way"


@pytest.mark.skipif(not int8_linear.available(), reason="this machine offers nothing to choose")
def test_a_served_model_takes_over_what_another_process_found(services: Installation) -> None:
    model = loaded(services)
    look = watch(services, pictures=100).look
    look()
    assert model.scorers.arithmetic == "float32", "too few pictures to decide anything"
    assert not list(services.settings.data_folder.glob("precision/*"))
    keep(services, PASSED)
    look()
    assert model.scorers.arithmetic == "int8"


@pytest.mark.skipif(not int8_linear.available(), reason="this machine offers nothing to choose")
def test_a_check_in_turns_leaves_a_verdict_that_the_next_process_follows(services: Installation) -> None:
    model = loaded(services)
    watch(services, pictures=PICTURES).look()
    (path,) = services.settings.data_folder.glob("precision/*.json")
    found = VerdictFiles(path.parent).find(model.fingerprint, CPU)
    assert found is not None
    assert {one.arithmetic for one in found.trials} == set(model.scorers.offers())
    assert (found.pictures, found.texts) in {(PICTURES, 3), (12, 2)}
    assert model.scorers.arithmetic == found.arithmetic
    with open_installation(services.settings, inline=True) as other:
        assert loaded(other).scorers.arithmetic == found.arithmetic
