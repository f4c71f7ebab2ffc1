"""``sightline index`` where it could lose something: what it refuses, asks, and says."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.settings import Settings, environment
from sightline.wiring import open_installation
from tests.sightline.conftest import Run, index, save


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """A folder of three pictures, indexed."""
    folder = tmp_path / "photos"
    for name in ("a", "b", "c"):
        save(folder, name, {"a": "red", "b": "blue", "c": "green"}[name])
    with open_installation(settings, inline=True) as services:
        index(services, folder)
    return folder


def live(settings: Settings) -> list[str]:
    with open_installation(settings) as services:
        return sorted(image.image_id for image in services.catalog.images("pictures").items)


def test_without_a_terminal_it_refuses_in_a_sentence_and_an_exit_code(
    sightline: Run, settings: Settings, folder: Path
) -> None:
    (folder / "a.png").unlink()
    done = sightline("index", str(folder), "-c", "pictures", "--prune", "--json")
    assert done.code == 1
    for part in ("1 of the 3 pictures", str(folder), "--prune-limit 1"):
        assert part in done.stderr
    assert (done.answer["not_pruned"], done.answer["deleted"], done.answer["unchanged"]) == (1, 0, 2)
    assert live(settings) == ["a.png", "b.png", "c.png"]
    done = sightline("index", str(folder), "-c", "pictures", "--prune", "--prune-limit", "40%")
    assert (done.code, done.stdout.splitlines()[0]) == (
        0, "0 indexed, 2 unchanged, 0 replaced, 1 moved to the trash, 0 failed"
    )  # fmt: skip
    assert live(settings) == ["b.png", "c.png"]


def test_on_a_terminal_it_asks(settings: Settings, folder: Path) -> None:
    (folder / "a.png").unlink()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sightline", "index", str(folder), "-c", "pictures", "--prune"]
    child = subprocess.Popen(
        command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, env=os.environ | environment(settings)
    )
    os.close(theirs)
    os.write(ours, b"y\n")
    child.communicate(timeout=120)
    assert live(settings) == ["b.png", "c.png"]
    assert child.returncode == 0
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "1 of the 3 pictures" in shown
    assert "a.png" in shown


def test_a_dry_run_says_what_would_go_and_changes_nothing(
    sightline: Run, settings: Settings, folder: Path
) -> None:
    (folder / "a.png").unlink()
    save(folder, "d", "white")
    command = ("index", str(folder), "-c", "pictures", "--prune", "--dry-run")
    done = sightline(*command, "--json")
    [source] = done.answer["sources"]
    assert (done.code, source["gone"], source["gone_count"], source["new"]) == (0, ["a.png"], 1, 1)
    assert "--prune-limit 1" in source["refused"]
    shown = sightline(*command, "--prune-limit", "1").stdout
    assert f"{folder}: 3 listed, 1 of them new; 1 of 3 would be moved to the trash\n  a.png\n" in shown
    assert live(settings) == ["a.png", "b.png", "c.png"]
    assert len(sightline("jobs", "--json").answer["jobs"]) == 1
    assert sightline("index", str(folder), "-c", "nowhere", "--dry-run").code == 3


def test_what_is_taken_moved_and_named_again_is_counted(
    sightline: Run, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    save(other, "a", "white")
    save(other, "b", "blue")
    done = sightline("index", str(other), str(other), "-c", "pictures")
    assert done.stdout.splitlines()[0] == (
        "0 indexed, 1 unchanged (1 at a new address), 0 replaced, 0 moved to the trash, "
        "1 failed (1 with an id of another source)"
    )
    done = sightline("index", str(other), "-c", "pictures", "--no-wait", "--json", "--id-prefix", "new/")
    assert (done.answer["pending"], done.answer["id_taken"], done.answer["failed"]) == (2, 0, 0)
    done = sightline("index", str(other), "-c", "pictures", "--json", "--moved-from", str(tmp_path / "never"))
    assert (done.code, done.answer["error"]["code"]) == (2, "invalid-input")


def test_a_source_that_is_not_there_keeps_no_other_from_being_indexed(
    sightline: Run, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.png").unlink()
    gone = str(tmp_path / "unmounted")
    done = sightline("index", gone, str(folder), "-c", "pictures", "--prune", "--prune-limit", "1", "--json")
    assert (done.code, done.answer["deleted"], done.answer["unchanged"]) == (1, 1, 2)
    assert sorted(error["reason"] for error in done.answer["errors"]) == ["not-pruned", "unreadable"]
    assert sightline("index", gone, str(folder), "-c", "pictures").code == 1


def test_a_collection_whose_model_moved_is_served_from_its_new_place(settings: Settings) -> None:
    with open_installation(settings, inline=True) as services:
        first = services.collections.create("pictures")
        known = {"fingerprint": first.fingerprint, "num_query_tokens": first.num_query_tokens}
        moved = services.catalog.create_collection(
            "pictures", model="/new/place", revision=None, joint_dim=first.joint_dim, **known
        )
        assert (moved.id, moved.model, moved.feature_set_id) == (first.id, "/new/place", first.feature_set_id)
        assert moved.version > first.version
        assert services.catalog.collection("pictures") == moved
