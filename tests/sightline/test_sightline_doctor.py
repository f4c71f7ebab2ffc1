"""The doctor: quiet about a sound installation, precise about a torn one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.upkeep.doctor import Finding
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save


@pytest.fixture
def filled(services: Installation, tmp_path: Path) -> Installation:
    """Six pictures, half of them folded into a generation, one replaced and one deleted since."""
    folder = tmp_path / "pictures"
    for name in "abc":
        save(folder, name, "red", "green")
    index(services, folder)
    services.builder.fold("pictures")
    save(folder, "a", "blue")
    for name in "def":
        save(folder, name, "purple")
    index(services, folder)
    collection = services.catalog.collection("pictures")
    services.catalog.delete_images(collection.id, ids=["b.png"])
    return services


def scores(services: Installation) -> list[tuple[str, float]]:
    found = services.search.find(SearchRequest("pictures", "red left", limit=10)).results
    return [(hit.id, hit.score) for hit in found]


def problems(settings: Settings, *, quick: bool = False) -> list[Finding]:
    with open_installation(settings) as fresh:
        return [finding for finding in fresh.doctor.examine(quick=quick) if finding.status == "problem"]


def test_a_sound_installation_has_no_problem(filled: Installation) -> None:
    assert filled.consistency.disagreements("pictures") == []
    assert problems(filled.settings) == []
    subjects = {finding.subject: finding.detail for finding in filled.doctor.examine()}
    assert subjects["collection pictures"].startswith("5 images; ")


def test_an_empty_installation_has_no_problem(settings: Settings) -> None:
    assert problems(settings) == []


def test_a_changed_byte_in_a_segment_is_found(filled: Installation) -> None:
    segment = filled.catalog.snapshot("pictures").uncovered[0]
    path = filled.settings.segments_folder / segment.file
    damaged = bytearray(path.read_bytes())
    damaged[-3 - 8 * (2 * segment.count + 1)] ^= 0x40  # in front of the checksums: a patch
    path.unlink()
    path.write_bytes(damaged)
    assert [finding.subject for finding in problems(filled.settings)] == ["collection pictures"]
    assert problems(filled.settings, quick=True) == [], "quick does not read files in full"


def test_a_lost_segment_is_found_and_named(filled: Installation) -> None:
    segment = filled.catalog.snapshot("pictures").uncovered[0]
    (filled.settings.segments_folder / segment.file).unlink()
    (finding,) = problems(filled.settings, quick=True)
    assert segment.file in finding.detail


def test_lost_segments_are_made_again_from_the_originals(filled: Installation) -> None:
    before = scores(filled)
    folder = filled.settings.segments_folder
    for file in list(folder.iterdir()):
        filled.segments.forget(file.name)
        file.unlink()
    repairs = list(filled.repair.run())
    assert sum(one.images for one in repairs) == 6, "five that are live, and one in the trash"
    assert not [one.problem for one in repairs if one.problem]
    assert problems(filled.settings) == []
    assert scores(filled) == before


def test_a_segment_stays_as_it_is_while_an_original_is_away(filled: Installation, tmp_path: Path) -> None:
    segment = filled.catalog.snapshot("pictures").uncovered[0]
    (filled.settings.segments_folder / segment.file).unlink()
    away = tmp_path / "away"
    (tmp_path / "pictures").rename(away)
    (left,) = filled.repair.run()
    assert left.problem is not None
    assert segment.id in {one.id for one in filled.catalog.snapshot("pictures").uncovered}
    away.rename(tmp_path / "pictures")
    (made,) = filled.repair.run()
    assert made.problem is None
    assert problems(filled.settings) == []


def test_a_lost_generation_is_found(filled: Installation) -> None:
    generation = filled.catalog.snapshot("pictures").generation
    assert generation is not None
    (filled.settings.generations_folder / generation.file).unlink()
    (finding,) = problems(filled.settings, quick=True)
    assert generation.file in finding.detail


def test_a_model_that_is_gone_is_a_problem_of_its_collection(
    settings: Settings, services: Installation
) -> None:
    gone = settings.data_folder / "gone-model"
    services.catalog.create_collection(
        "old", model=str(gone), revision=None, fingerprint="f", num_query_tokens=4, joint_dim=8
    )
    assert [finding.subject for finding in problems(settings)] == [f"model {gone}"]


def test_a_broker_out_of_reach_is_a_problem(settings: Settings) -> None:
    away = settings.model_copy(
        update={"broker": replace(settings.broker, url="redis://127.0.0.1:1/0", connect_seconds=0.5)}
    )
    assert [finding.subject for finding in problems(away)] == ["broker"]
