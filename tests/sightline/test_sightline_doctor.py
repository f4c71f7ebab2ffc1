"""The doctor: quiet about a sound installation, precise about a torn one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

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


def itc(services: Installation) -> list[tuple[str, float]]:
    request = SearchRequest("pictures", "red left", limit=10, rerank=False)
    return [(hit.id, hit.itc) for hit in services.search.find(request).results]


def lose(services: Installation, file: str) -> None:
    """A segment file is gone."""
    services.segments.forget(file)
    (services.settings.segments_folder / file).unlink()


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


def test_images_without_anything_left_are_lost_until_their_originals_are_back(
    filled: Installation, tmp_path: Path
) -> None:
    filled.catalog.update_image("pictures", "d.png", caption="a caption", metadata={"year": 2019})
    before = scores(filled)
    segment = filled.catalog.snapshot("pictures").uncovered[0]
    lose(filled, segment.file)
    (tmp_path / "pictures").rename(tmp_path / "away")
    (left,) = filled.repair.run()
    assert left.problem is not None
    assert sorted(left.lost) == ["a.png", "d.png", "e.png", "f.png"]
    assert [finding.subject for finding in problems(filled.settings)] == ["lost images"]
    assert [name for name, _ in scores(filled)] == ["c.png"]
    (tmp_path / "away").rename(tmp_path / "pictures")
    (back,) = filled.repair.run()
    assert (back.images, back.problem, back.lost) == (4, None, ())
    assert problems(filled.settings) == []
    assert scores(filled) == before
    image = filled.catalog.image("pictures", "d.png")
    assert (image.caption, image.metadata) == ("a caption", {"year": 2019})


def test_indexing_again_brings_lost_images_back_with_what_was_known_of_them(
    filled: Installation, tmp_path: Path
) -> None:
    filled.catalog.update_image("pictures", "d.png", caption="a caption", metadata={"year": 2019})
    before = scores(filled)
    lose(filled, filled.catalog.snapshot("pictures").uncovered[0].file)
    (tmp_path / "pictures").rename(tmp_path / "away")
    list(filled.repair.run())
    (tmp_path / "away").rename(tmp_path / "pictures")
    (tmp_path / "pictures" / "b.png").unlink()
    index(filled, tmp_path / "pictures")
    assert problems(filled.settings) == []
    assert scores(filled) == before
    image = filled.catalog.image("pictures", "d.png")
    assert (image.caption, image.metadata) == ("a caption", {"year": 2019})


def test_one_missing_original_keeps_no_other_image_from_being_repaired(
    filled: Installation, tmp_path: Path
) -> None:
    before = scores(filled)
    lose(filled, filled.catalog.snapshot("pictures").uncovered[0].file)
    (tmp_path / "pictures" / "e.png").unlink()
    (made,) = filled.repair.run()
    assert (made.images, made.lost) == (3, ("e.png",))
    assert scores(filled) == [(name, score) for name, score in before if name != "e.png"]
    assert [finding.subject for finding in problems(filled.settings)] == ["lost images"]


def test_tokens_are_taken_from_the_generation_where_an_original_is_away(
    services: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    for name in "abc":
        save(folder, name, "red", "green" if name == "a" else "blue")
    index(services, folder)
    services.builder.fold("pictures")
    before = itc(services)
    (segment,) = services.catalog.snapshot("pictures").segments
    lose(services, segment.file)
    (folder / "b.png").unlink()
    (made,) = services.repair.run()
    assert (made.images, made.bare, made.lost) == (2, ("b.png",), ())
    assert itc(services) == before
    assert problems(services.settings) == []
    services.builder.refold("pictures")
    assert itc(services) == before


def test_tokens_are_taken_from_a_segment_whose_patches_are_damaged(
    services: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    for name in "abc":
        save(folder, name, "red", "green" if name == "a" else "blue")
    index(services, folder)
    before = itc(services)
    (segment,) = services.catalog.snapshot("pictures").segments
    path = services.settings.segments_folder / segment.file
    layout = services.segments.head(segment.file).layout
    last = layout.starts["patches"] + layout.specs["patches"].bytes - 3
    content = path.read_bytes()
    lose(services, segment.file)
    path.write_bytes(content[:last] + bytes([content[last] ^ 0x40]) + content[last + 1 :])
    (folder / "b.png").unlink()
    (made,) = services.repair.run()
    assert made.lost == ()
    assert set(made.bare) <= {"b.png"}
    assert itc(services) == before
    assert problems(services.settings) == []


@pytest.mark.parametrize("away", [False, True])
def test_what_is_in_the_trash_is_made_again_with_the_rest(
    away: bool, services: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    for name in "abc":
        save(folder, name, "red", "green" if name == "a" else "blue")
    index(services, folder)
    key = services.catalog.image("pictures", "b.png").key
    for statement in (
        f"UPDATE images SET state = 'trashed', trashed_at = 1.0 WHERE key = {key}",
        f"UPDATE placements SET dead = 1 WHERE key = {key}",
    ):
        services.catalog.database.write(lambda connection, sql=statement: connection.execute(text(sql)))
    (segment,) = services.catalog.snapshot("pictures").segments
    lose(services, segment.file)
    if away:
        (folder / "b.png").unlink()
    (made,) = services.repair.run()
    assert made.lost == (("b.png",) if away else ())
    (new,) = services.catalog.snapshot("pictures").segments
    assert new.count == (2 if away else 3)
    assert problems(services.settings) == []


def test_a_segment_stays_as_it_is_while_all_originals_are_away_and_the_index_finds_them(
    services: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    save(folder, "a", "red")
    index(services, folder)
    services.builder.fold("pictures")
    (segment,) = services.catalog.snapshot("pictures").segments
    lose(services, segment.file)
    folder.rename(tmp_path / "away")
    (left,) = services.repair.run()
    assert left.problem is not None
    assert [one.file for one in services.catalog.snapshot("pictures").segments] == [segment.file]
    (tmp_path / "away").rename(folder)
    (made,) = services.repair.run()
    assert (made.images, made.problem) == (1, None)
    assert problems(services.settings) == []


@pytest.mark.parametrize("harm", ["lost", "cut", "changed"])
def test_a_damaged_generation_is_folded_anew(filled: Installation, harm: str) -> None:
    before = scores(filled)
    generation = filled.catalog.snapshot("pictures").generation
    assert generation is not None
    path = filled.settings.generations_folder / generation.file
    content = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    if harm == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (made,) = filled.repair.run()
    assert (made.file, made.problem) == (generation.file, None)
    assert problems(filled.settings) == []
    assert scores(filled) == before


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
