"""Folders belong to one installation: whoever would write into another one's is refused in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import ConflictError
from sightline.processes import up
from sightline.settings import Settings
from sightline.store.ownership import MARKER
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, save, toy_settings


@pytest.fixture
def filled(services: Installation, tmp_path: Path) -> Installation:
    for name in "abc":
        save(tmp_path / "pictures", name, "red", "green")
    index(services, tmp_path / "pictures")
    services.builder.fold("pictures")
    return services


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def elsewhere(filled: Installation, data: Path) -> Settings:
    """Another installation that was pointed at the folders of this one."""
    settings = filled.settings
    return toy_settings(data).model_copy(
        update={"segments": settings.segments_folder, "generations": settings.generations_folder}
    )


def test_every_folder_says_whose_it_is_and_what_it_holds(filled: Installation) -> None:
    data = filled.settings.data_folder
    installation = filled.catalog.installation_id()
    for folder, holds in (
        (data, "data"),
        (data / "segments", "segments"),
        (data / "generations", "generations"),
        (data / "originals", "originals"),
    ):
        said = json.loads((folder / MARKER).read_text())
        assert said == {"installation": installation, "holds": holds}


@pytest.mark.parametrize(
    "write",
    [
        lambda services: services.indexer,
        lambda services: services.builder,
        lambda services: services.repair,
        lambda services: services.cache_measurement,
        lambda services: services.api_parts,
    ],
)
def test_another_installation_is_refused_before_it_writes_anything(
    filled: Installation, tmp_path: Path, write: Callable[[Installation], object]
) -> None:
    before, data = tree(filled.settings.data_folder), tmp_path / "second"
    owner = filled.catalog.installation_id()
    with (
        open_installation(elsewhere(filled, data)) as second,
        pytest.raises(ConflictError, match=f"for segments of the installation {owner[:12]}.*sightline adopt"),
    ):
        write(second)
    after = tree(filled.settings.data_folder)
    assert {path: text for path, text in after.items() if "sqlite" not in path} == {
        path: text for path, text in before.items() if "sqlite" not in path
    }
    assert not (data / MARKER).exists()


def test_up_and_index_end_with_that_sentence(
    filled: Installation, tmp_path: Path, sightline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = elsewhere(filled, tmp_path / "second")
    with pytest.raises(ConflictError, match="for segments of the installation"), up.start(settings):
        pass
    monkeypatch.setenv("SIGHTLINE_SEGMENTS", str(settings.segments))
    for command in (["index", str(tmp_path / "pictures"), "-c", "x"], ["builder"]):
        ended = sightline(*command, "--data", str(tmp_path / "third"))
        assert ended.code == 4
        assert "for segments of the installation" in ended.stderr


def test_a_data_folder_whose_catalog_is_elsewhere_gets_no_empty_one(filled: Installation) -> None:
    settings = filled.settings
    filled.close()
    catalog = settings.data_folder / "catalog.sqlite"
    catalog.unlink()
    with (
        open_installation(settings) as services,
        pytest.raises(ConflictError, match="DATABASE_URL as before"),
    ):
        services.catalog.collections()
    assert not catalog.exists()


def test_originals_at_a_place_of_their_own_may_be_shared(tmp_path: Path) -> None:
    places = []
    for name in ("first", "second"):
        settings = toy_settings(tmp_path / name).model_copy(
            update={"originals": f"memory://{tmp_path.name}/shared"}
        )
        with open_installation(settings, inline=True) as services:
            services.claim_folders()
            places.append((services.catalog.installation_id(), services.blobs.owners()))
    (first, alone), (second, both) = places
    assert (alone, both) == ({first}, {first, second})


def test_a_folder_from_before_is_taken_over_without_a_word(filled: Installation) -> None:
    settings = filled.settings
    filled.close()
    for marker in settings.data_folder.rglob(f"{MARKER}*"):
        marker.unlink()
    with open_installation(settings) as services:
        services.claim_folders()
    assert len(list(settings.data_folder.rglob(MARKER))) == 4


def test_doctor_tells_what_lies_in_the_folders_and_adopt_takes_them_over(
    filled: Installation, sightline: Run
) -> None:
    segments = filled.settings.segments_folder
    (segments / "thesis.odt").touch()
    file = next(segments.glob("*.segment.safetensors"))
    shutil.copy(file, segments / f"{'a' * 32}.segment.safetensors")
    (segments / ".swept").mkdir()
    shutil.copy(file, segments / ".swept" / f"{'b' * 32}.segment.safetensors")
    folders = {one["subject"]: one for one in sightline("doctor", "--json").answer["findings"]}
    found = folders["folder of segments"]
    assert found["status"] == "note"
    for part in ("1 files that the catalog", "1 that it does not", "1 set aside in .swept", "(thesis.odt)"):
        assert part in found["detail"]
    assert folders["folder of generations"]["status"] == "ok"

    marker = segments / MARKER
    marker.write_text('{"installation": "another", "holds": "segments"}')
    ended = sightline("doctor", "--json")
    assert ended.code == 1
    [wrong] = [one for one in ended.answer["findings"] if one["status"] == "problem"]
    assert "belongs to the installation another" in wrong["detail"]
    assert "adopt --yes" in wrong["detail"]
    shown = sightline("adopt", "--json").answer["folders"]
    assert [one["holds"] for one in shown if one["status"] == "problem"] == ["segments"]
    assert "another" in marker.read_text(), "only looked"
    assert sightline("adopt", "--yes").code == 0
    assert filled.catalog.installation_id() in marker.read_text()
    assert sightline("doctor", "--json").code == 0


def test_folders_stay_ours_when_the_schema_goes_back_and_comes_again(
    sightline: Run, settings: Settings, tmp_path: Path
) -> None:
    for name in "ab":
        save(tmp_path / "pictures", name, "red", "green")
    command = ("index", str(tmp_path / "pictures"), "--collection", "colours", "--json")
    assert sightline(*command).code == 0
    assert sightline("migrate", "--to", "0001").code == 0
    assert sightline("migrate").code == 0
    save(tmp_path / "pictures", "c", "red", "green")
    done = sightline(*command)
    assert (done.code, done.answer["indexed"], done.answer["unchanged"]) == (0, 1, 2), done
