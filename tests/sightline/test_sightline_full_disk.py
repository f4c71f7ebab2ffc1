"""``sightline index`` on a full disk stops with a sentence and loses nothing; the same command goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.blip.toy import COLOURS
from sightline.settings import Settings
from tests.sightline.conftest import Run, processes_of, save
from tests.small_disk import small_disk

NAMES = sorted(set(COLOURS) - {"gray"})


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in NAMES:
        save(folder, name, name)
    return folder


def test_index_stops_with_a_sentence_and_goes_on_with_the_same_command(
    sightline: Run, settings: Settings, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_INDEXER__TROUBLE_SECONDS", "0.5")
    monkeypatch.setenv("SIGHTLINE_INDEXER__RETRY_PAUSE_SECONDS", "0.1")
    command = ("index", str(pictures), "--collection", "colours", "--model", "toy")
    with small_disk(settings.data_folder / "segments", 64) as disk:
        assert sightline("migrate").code == 0
        assert sightline("adopt", "--yes").code == 0  # the folder is ours before it is full
        disk.fill()
        ended = sightline(*command)
        assert ended.code == 5, ended
        assert "Traceback" not in ended.stderr
        said = " ".join(ended.stderr.split())
        assert "The disk is full at" in said
        assert f"0 images are indexed, {len(NAMES)} wait" in said
        assert "run the same command again" in said
        disk.free()
        ended = sightline(*command, "--json")
        assert ended.code == 0, ended
        assert (ended.answer["indexed"], ended.answer["failed"]) == (len(NAMES), 0)
    assert processes_of(settings) == []


@pytest.mark.long
@pytest.mark.parametrize("kib", [64, 256, 512, 1024])
def test_wherever_the_room_ends_there_is_a_sentence_and_nothing_is_lost(
    sightline: Run, settings: Settings, pictures: Path, monkeypatch: pytest.MonkeyPatch, kib: int
) -> None:
    """Catalog, logs, messages, thumbnails and segments on one small disk."""
    monkeypatch.setenv("SIGHTLINE_INDEXER__TROUBLE_SECONDS", "1")
    command = ("index", str(pictures), "--collection", "colours", "--model", "toy", "--copy")
    with small_disk(settings.data_folder, 16 * 1024) as disk:
        disk.fill()
        disk.leave(kib)
        ended = sightline(*command)
        assert ended.code in (0, 1, 5), ended
        assert "Traceback" not in ended.stderr, ended.stderr
        if ended.code:
            assert "full" in ended.stderr + ended.stdout, ended
        disk.free()
        ended = sightline(*command, "--json")
        assert ended.code == 0, ended
        answer = ended.answer
        assert (answer["indexed"] + answer["unchanged"], answer["failed"]) == (len(NAMES), 0)
        (found,) = sightline("collections", "--json").answer["collections"]
        assert found["live"] == len(NAMES), found
    assert processes_of(settings) == []
