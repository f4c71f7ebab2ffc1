"""Room on a disk, told and checked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sightline.errors import NoRoomError
from sightline.store.room import Need, check_room, size
from tests.small_disk import small_disk


def test_what_fits_is_told_and_what_does_not_is_refused_with_both_figures(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    said = check_room([Need("patches", folder, 2_000_000), Need("checkpoints", folder, 500_000)], "go")
    assert len(said) == 1
    assert said[0].startswith(
        f"Up to 2.5 MB will be written (patches 2.0 MB, checkpoints 500.0 kB) on the disk of {folder},"
    )
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(NoRoomError) as refused:
        check_room([Need("patches", folder, free // 2), Need("the model", folder, free)], "free some room")
    assert f"{size(free // 2 + free)} are needed" in str(refused.value)
    assert str(refused.value).endswith("are free; free some room.")
    assert not folder.exists()


def test_disks_are_counted_each_by_itself(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1024) as disk:
        needs = [
            Need("patches", disk.folder / "cache", 900_000),
            Need("the model", tmp_path / "out", 2_000_000),
        ]
        assert len(check_room(needs, "go")) == 2
        needs.append(Need("pixels", disk.folder, 200_000))
        with pytest.raises(NoRoomError, match=r"1\.1 MB are needed \(patches 900\.0 kB, pixels 200\.0 kB\)"):
            check_room(needs, "go")


@pytest.mark.parametrize(
    ("count", "text"),
    [(82_100_000_000, "82.1 GB"), (1_500_000, "1.5 MB"), (2_000, "2.0 kB"), (999, "999 bytes")],
)
def test_sizes_are_powers_of_ten(count: int, text: str) -> None:
    assert size(count) == text
