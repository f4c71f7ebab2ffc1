"""No damage to an original, a thumbnail or the catalog goes unnamed, and what can be made again is."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text

from sightline.errors import CatalogDamagedError, CorruptionError, SightlineError
from sightline.imaging import IsolatedDecoder
from sightline.indexer.uploads import Upload
from sightline.settings import Settings
from sightline.store.backends import gpus
from sightline.store.catalog import open_catalog
from sightline.store.metadata import METADATA
from sightline.upkeep.findings import Finding
from sightline.wiring import Installation, open_installation
from tests.sightline.backup_world import fill, png, settings_of
from tests.sightline.conftest import Run, save, toy_settings

SHADES = ("red", "green", "blue", "white", "purple", "yellow")
PICTURES = 43
PAGE = 4096
HARMS = ("flip", "cut", "empty", "longer", "swap", "remove")


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, decoder: IsolatedDecoder) -> Path:
    """The data folder of an installation with 43 different pictures, uploaded."""
    folder = tmp_path_factory.mktemp("kept") / "data"
    with open_installation(toy_settings(folder), inline=True, decoder=decoder) as services:
        services.collections.create("pictures")
        uploads = [
            Upload(png(SHADES[number % 6], SHADES[number // 6 % 6], SHADES[number // 36]), f"n{number}")
            for number in range(PICTURES)
        ]
        job, _ = services.indexer.add("pictures", uploads)
        services.indexer.wait(job.id, timeout=60)
    return folder


@pytest.fixture
def kept(filled: Path, settings: Settings, decoder: IsolatedDecoder) -> Iterator[Installation]:
    """A copy of it."""
    shutil.copytree(filled, settings.data_folder)
    with open_installation(settings, inline=True, decoder=decoder) as services:
        yield services


def files_of(services: Installation) -> tuple[list[Path], list[Path]]:
    """Originals and thumbnails, in the order of their SHA-256."""
    root = services.settings.data_folder / "originals"
    originals = sorted((root / "originals").rglob("*"), key=lambda path: path.name)
    thumbnails = sorted((root / "thumbnails").rglob("*"), key=lambda path: path.name)
    return [path for path in originals if path.is_file()], [path for path in thumbnails if path.is_file()]


def harm(paths: list[Path], number: int, how: str, seed: int = 1) -> None:
    """Change one file on the disk."""
    path, other = paths[number], paths[(number + 1) % len(paths)]
    content = path.read_bytes()
    if how == "flip":
        at = random.Random(seed * 1000 + number).randrange(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << (number % 8)]) + content[at + 1 :])
    elif how == "cut":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "longer":
        path.write_bytes(content + b"\0")
    elif how == "swap":
        path.write_bytes(other.read_bytes())
    else:
        path.unlink()


def looked(services: Installation, *, quick: bool = False, originals: bool = False) -> dict[str, Finding]:
    found = services.doctor.examine(quick=quick, originals=originals)
    return {finding.subject: finding for finding in found}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 14))])
def test_each_of_86_damages_is_named(kept: Installation, seed: int) -> None:
    before = looked(kept)
    assert (before["originals"].status, before["thumbnails"].status) == ("ok", "ok")
    for paths in files_of(kept):
        assert len(paths) == PICTURES
        for number in range(PICTURES):
            harm(
                paths, number, HARMS[(number + seed) % len(HARMS)] if number < PICTURES - 1 else "flip", seed
            )
    after = looked(kept)
    shas = {image.sha256[:12] for image in kept.catalog.images("pictures", limit=100).items}
    for subject in ("originals", "thumbnails"):
        assert after[subject].status == "problem"
        assert {name.partition("(")[2][:12] for name in after[subject].names} == shas
        assert len(after[subject].names) == PICTURES


def test_quick_looks_for_what_is_missing_or_of_another_length(kept: Installation) -> None:
    originals, thumbnails = files_of(kept)
    harm(originals, 0, "remove")
    harm(originals, 1, "cut")
    harm(originals, 2, "flip")
    harm(thumbnails, 0, "remove")
    found = looked(kept, quick=True)
    assert [len(found[subject].names) for subject in ("originals", "thumbnails")] == [2, 1]


def test_a_damaged_thumbnail_is_never_handed_out(kept: Installation) -> None:
    _, thumbnails = files_of(kept)
    for number, how in enumerate(HARMS[:-1]):
        harm(thumbnails, number, how)
        with pytest.raises(CorruptionError):
            kept.blobs.get_thumbnail(thumbnails[number].stem)
    whole = thumbnails[9].read_bytes()
    sha256 = thumbnails[9].stem
    for bit in range(0, 8 * len(whole), 7):
        thumbnails[9].write_bytes(
            whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :]
        )
        with pytest.raises(CorruptionError):
            kept.blobs.get_thumbnail(sha256)


def test_a_thumbnail_of_version_0_1_has_no_seal_and_is_good(kept: Installation) -> None:
    _, thumbnails = files_of(kept)
    sha256 = thumbnails[0].stem
    picture = kept.blobs.get_thumbnail(sha256)
    thumbnails[0].write_bytes(picture)
    assert kept.blobs.get_thumbnail(sha256) == picture
    assert looked(kept)["thumbnails"].status == "ok"


def test_thumbnails_are_made_again_from_originals(kept: Installation) -> None:
    _, thumbnails = files_of(kept)
    before = [path.read_bytes() for path in thumbnails]
    for number, how in enumerate(HARMS):
        harm(thumbnails, number, how)
    done = list(kept.bytes_repair.run())
    assert [(one.what, one.problem) for one in done] == [("thumbnail", None)] * len(HARMS)
    assert [path.read_bytes() for path in thumbnails] == before
    assert looked(kept)["thumbnails"].status == "ok"


@pytest.mark.parametrize("how", HARMS)
def test_uploading_the_right_bytes_again_puts_a_rotten_original_right(kept: Installation, how: str) -> None:
    originals, _ = files_of(kept)
    image = next(
        one for one in kept.catalog.images("pictures", limit=100).items if one.sha256 == originals[0].name
    )
    data = originals[0].read_bytes()
    harm(originals, 0, how)
    kept.indexer.add("pictures", [Upload(data, image.image_id)])
    assert originals[0].read_bytes() == data
    assert looked(kept)["originals"].status == "ok"


def test_a_rotten_copy_is_fetched_again_from_where_it_came_from(
    settings: Settings, decoder: IsolatedDecoder, tmp_path: Path
) -> None:
    for name in ("a", "b", "deep/c", "gone", "changed"):
        save(tmp_path / "photos", name, SHADES[len(name) % 6], SHADES[ord(name[0]) % 6])
    with open_installation(settings, inline=True, decoder=decoder) as services:
        services.collections.create("pictures")
        job = services.indexer.index([str(tmp_path / "photos")], "pictures", copy=True)
        services.indexer.wait(job.id, timeout=60)
        originals, _ = files_of(services)
        for number in range(len(originals)):
            harm(originals, number, HARMS[number])
        (tmp_path / "photos" / "gone.png").unlink()
        save(tmp_path / "photos", "changed", "white")
        done = {one.name: one.problem for one in services.bytes_repair.run()}
        assert {name for name, problem in done.items() if problem} == {
            "pictures/gone.png",
            "pictures/changed.png",
        }
        after = looked(services)["originals"]
        assert sorted(name.partition(" ")[0] for name in after.names) == [
            "pictures/changed.png",
            "pictures/gone.png",
        ]


def test_originals_elsewhere_are_found_or_read(
    settings: Settings, decoder: IsolatedDecoder, tmp_path: Path
) -> None:
    paths = [save(tmp_path / "photos", name, *colours) for name, colours in
             (("a", ("red",)), ("b", ("green",)), ("c", ("blue",)), ("d", ("white",)))]  # fmt: skip
    with open_installation(settings, inline=True, decoder=decoder) as services:
        services.collections.create("pictures")
        job = services.indexer.index([str(tmp_path / "photos")], "pictures")
        services.indexer.wait(job.id, timeout=60)
        for number, how in enumerate(("flip", "cut", "remove")):
            harm(paths, number, how)
        assert [
            len(looked(services, originals=every)["referenced originals"].names) for every in (False, True)
        ] == [2, 3]
        assert looked(services)["referenced originals"].status == "note"


# --- the catalog ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalog_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed SQLite catalog with all kinds of rows."""
    folder = tmp_path_factory.mktemp("catalog")
    with open_installation(settings_of(folder / "data"), inline=True) as services:
        fill(services, folder / "pictures")
    return folder / "data" / "catalog.sqlite"


def rows(path: Path) -> object:
    """Every value of every table but placements, which are compared with segments."""
    catalog = open_catalog(f"sqlite:///{path}")
    try:
        return [
            catalog.database.read(
                lambda connection, table=table: [
                    tuple(row)
                    for row in connection.execute(select(table).order_by(*table.primary_key.columns))
                ]
            )  # type: ignore[misc]
            for table in METADATA.sorted_tables
            if table.name != "placements"
        ]
    finally:
        catalog.close()


def said_of(path: Path) -> list[str]:
    """What the doctor's look at the catalog finds, or what opening it says."""
    try:
        catalog = open_catalog(f"sqlite:///{path}")
        try:
            return catalog.damages() or catalog.check()
        finally:
            catalog.close()
    except SightlineError as error:
        return [str(error)]


def mutated(whole: bytes, rng: random.Random, how: str) -> bytes:
    """Another file."""
    content, pages = bytearray(whole), len(whole) // PAGE
    at, one, other = rng.randrange(len(whole)), rng.randrange(pages) * PAGE, rng.randrange(pages) * PAGE
    if how == "flip":
        while not any(content[at - at % 64 : at - at % 64 + 64]):  # mostly empty pages prove little
            at = rng.randrange(len(content))
        content[at] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del content[max(1, at) :]
    elif how == "swap":
        content[one : one + PAGE] = whole[other : other + PAGE]
        content[other : other + PAGE] = whole[one : one + PAGE]
    else:
        content[at : at + 64] = rng.randbytes(64)[: len(content) - at]
    return bytes(content)


@pytest.mark.parametrize("count", [48, pytest.param(1000, marks=pytest.mark.long)])
def test_a_damage_of_the_catalog_is_named_or_changes_nothing(
    catalog_file: Path, tmp_path: Path, count: int
) -> None:
    before, whole = rows(catalog_file), catalog_file.read_bytes()
    rng = random.Random(count)
    path = tmp_path / "mutated.sqlite"
    named = 0
    for number in range(count):
        how = ("flip", "flip", "flip", "cut", "swap", "garbage")[number % 6]
        path.write_bytes(mutated(whole, rng, how))
        if said_of(path):
            named += 1
        else:
            assert rows(path) == before, f"{number}: {how}, and nobody says so"
    assert named > count // 3


@pytest.mark.parametrize("said", [b"caption of up1", b"up2", b"/pictures/a.png", b'"n":"up3"'])
def test_a_changed_caption_id_address_or_metadata_is_named(
    catalog_file: Path, tmp_path: Path, said: bytes
) -> None:
    content = bytearray(catalog_file.read_bytes())
    at = content.index(said) + len(said) - 2
    content[at] ^= 1
    path = tmp_path / "mutated.sqlite"
    path.write_bytes(content)
    assert said_of(path)


BROKEN = {
    "not a database": lambda content: b"no database at all " * 1000,
    "cut in half": lambda content: content[: len(content) // 2],
    "a page of nothing": lambda content: content[:4096] + bytes(8192) + content[12288:],
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("command", [["collections"], ["search", "red", "-c", "pictures"], ["jobs"]])
def test_every_command_says_one_sentence_of_a_damaged_catalog(
    how: str, command: list[str], sightline: Run, settings: Settings, catalog_file: Path
) -> None:
    settings.data_folder.mkdir(parents=True)
    (settings.data_folder / "catalog.sqlite").write_bytes(BROKEN[how](catalog_file.read_bytes()))
    ended = sightline(*command, "--json")
    assert (ended.code, ended.answer["error"]["code"]) == (5, "catalog-damaged")
    assert "`sightline restore`" in ended.answer["error"]["message"]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("how", BROKEN)
def test_the_doctor_ends_with_what_is_wrong_and_what_to_do(
    how: str, sightline: Run, settings: Settings, catalog_file: Path
) -> None:
    settings.data_folder.mkdir(parents=True)
    (settings.data_folder / "catalog.sqlite").write_bytes(BROKEN[how](catalog_file.read_bytes()))
    ended = sightline("doctor", "--json")
    said = [one for one in ended.answer["findings"] if one["status"] == "problem"]
    assert ended.code == 1
    assert said[0]["subject"] == "catalog"
    assert "`sightline restore`" in said[0]["detail"]


def test_a_row_that_holds_what_nobody_wrote_is_damage_and_no_mistake_of_ours(
    catalog_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(catalog_file.read_bytes())
    with sqlite3.connect(path) as connection:
        (covered,) = connection.execute("SELECT covered FROM generations").fetchone()
    connection.close()
    whole = path.read_bytes()
    assert whole.count(covered.encode()) == 1
    path.write_bytes(whole.replace(covered.encode(), b"5".ljust(len(covered))))
    catalog = open_catalog(f"sqlite:///{path}")
    with pytest.raises(CatalogDamagedError):
        catalog.snapshot("pictures")
    catalog.close()


def test_garbage_in_the_shared_memory_file_harms_nothing(catalog_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(catalog_file.read_bytes())
    Path(f"{path}-shm").write_bytes(b"garbage" * 5000)
    assert said_of(path) == []
    assert rows(path) == rows(catalog_file)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "contacts.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    connection.close()
    with pytest.raises(SightlineError, match="another program"):
        open_catalog(f"sqlite:///{path}")


def test_a_row_that_refers_to_nothing_is_named(catalog_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(catalog_file.read_bytes())
    catalog = open_catalog(f"sqlite:///{path}")
    with catalog.database.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(text("UPDATE images SET source_id = 999 WHERE source_id IS NOT NULL"))
        connection.exec_driver_sql("COMMIT")
    catalog.close()
    assert "images" in " ".join(said_of(path))


def test_a_damaged_catalog_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(CatalogDamagedError, match=r"^The catalog .* is damaged .*\.$"):
        open_catalog(f"sqlite:///{path}")


# --- what is asked for and is not there -------------------------------------------------------------------


@pytest.mark.skipif(gpus() > 0, reason="there is a GPU")
def test_a_gpu_that_is_asked_for_and_not_there_is_named(settings: Settings) -> None:
    asked = settings.model_copy(update={"retriever": replace(settings.retriever, device="cuda")})
    asked = asked.model_copy(update={"model": replace(asked.model, device="cuda")})
    with open_installation(asked) as services:
        found = looked(services)
    assert (found["index device"].status, found["device"].status) == ("problem", "problem")
    assert "SIGHTLINE_RETRIEVER__DEVICE=cuda" in found["index device"].detail
