"""Folders that are followed: what appears, changes and goes is found, by a process that may die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.settings import Settings, environment
from sightline.store.records import Job
from sightline.watching.gathering import Gathering
from sightline.watching.watch import Told, Watch, Watched
from sightline.wiring import Installation, open_installation
from tests.children import read_line
from tests.sightline.conftest import ROOT, Run, save

SECONDS = 60


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)


@dataclass
class Followed:
    """A watch in a thread, and what it has told."""

    services: Installation
    told: list[Told] = field(default_factory=list)

    def jobs(self) -> list[Job]:
        return [self.services.catalog.job(one.job) for one in self.told if one.job is not None]

    def ids(self) -> set[str]:
        return {image.image_id for image in self.services.catalog.images("pictures").items}

    def finds(self, *names: str) -> None:
        until(lambda: self.ids() == set(names), f"{names} instead of {self.ids()}")


@contextmanager
def followed(services: Installation, folder: Path, **how: Any) -> Iterator[Followed]:
    """Inside, the folder is followed, and was listed once."""
    stop, found = threading.Event(), Followed(services)

    def turn() -> None:
        if not services.indexer.run_pending(most=1):
            time.sleep(0.02)

    watched = Watched((str(folder),), "pictures", **how)
    thread = threading.Thread(target=Watch(services, watched, turn, found.told.append, stop.is_set).run)
    thread.start()
    try:
        until(lambda: bool(found.told), "the first listing")
        yield found
    finally:
        stop.set()
        thread.join(SECONDS)
    assert not thread.is_alive()


def test_what_appears_changes_moves_and_goes_is_followed_by_name(
    services: Installation, settings: Settings, tmp_path: Path
) -> None:
    """The data folder lies in the watched one; neither it nor hidden and unfinished files are looked at."""
    save(tmp_path, "a", "red")
    (tmp_path / "clip.mov").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(64))
    with followed(services, tmp_path) as watch:
        watch.finds("a.png")
        assert watch.jobs()[0].skipped == {"video": 1}
        save(tmp_path / "new" / "deep", "b", "blue")
        watch.finds("a.png", "new/deep/b.png")
        before = services.catalog.image("pictures", "a.png").sha256
        save(tmp_path, "a", "green")
        until(lambda: services.catalog.image("pictures", "a.png").sha256 != before, "the new bytes")
        (tmp_path / ".hidden.png").write_bytes((tmp_path / "a.png").read_bytes())
        (tmp_path / "b.png.part").write_bytes((tmp_path / "a.png").read_bytes())
        (tmp_path / "new").rename(tmp_path / "old")
        watch.finds("a.png", "old/deep/b.png")
        (tmp_path / "old" / "deep" / "b.png").unlink()
        watch.finds("a.png")
        named = {name for job in watch.jobs() for name in job.request["only"]}
        assert named <= {"a.png", "new", "new/deep", "new/deep/b.png", "old", "old/deep", "old/deep/b.png"}
    job = services.indexer.index([str(tmp_path)], "pictures", prune=True)  # agrees: same ids, same source
    progress = services.indexer.wait(job.id, timeout=SECONDS)
    assert (progress.indexed, progress.unchanged, progress.deleted, progress.failed) == (0, 1, 0, 0)


def test_a_folder_that_is_away_loses_nothing_and_is_listed_when_it_is_back(
    services: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "disk"
    save(folder, "a", "red")
    with followed(services, folder) as watch:
        watch.finds("a.png")
        folder.rename(tmp_path / "away")
        until(lambda: any("waited for" in (one.sentence or "") for one in watch.told), "a word of it")
        save(tmp_path / "away", "b", "blue")
        assert watch.ids() == {"a.png"}
        (tmp_path / "away").rename(folder)
        watch.finds("a.png", "b.png")


def test_polling_follows_as_well(services: Installation, tmp_path: Path) -> None:
    save(tmp_path / "p", "a", "red")
    with followed(services, tmp_path / "p", poll=True) as watch:
        save(tmp_path / "p", "b", "blue")
        watch.finds("a.png", "b.png")


def test_a_file_is_read_when_it_has_stayed_the_same_for_a_while(tmp_path: Path) -> None:
    clock = [0.0]
    gathering = Gathering(str(tmp_path), now=lambda: clock[0])
    growing, done = tmp_path / "growing.png", tmp_path / "done.png"
    for path in (growing, done):
        path.write_bytes(b"x")
        gathering.note(str(path))
    clock[0] = 1.0
    growing.write_bytes(b"xy")
    assert gathering.settled() == ["done.png"]
    assert gathering.settled() == []
    clock[0] = 2.0
    assert gathering.settled() == ["growing.png"]


def test_of_a_folder_that_comes_what_lies_in_it_is_named_once_and_a_link_is_left_to_a_whole_listing(
    tmp_path: Path,
) -> None:
    clock = [0.0]
    gathering = Gathering(str(tmp_path), now=lambda: clock[0])
    save(tmp_path / "in", "a", "red")
    for path in (tmp_path / "in", tmp_path / "in" / "a.png"):
        gathering.note(str(path))
    clock[0] = 1.0
    assert gathering.settled() == ["in"]
    assert not gathering.whole
    (tmp_path / "link").symlink_to(tmp_path / "in")
    gathering.note(str(tmp_path / "link" / "a.png"))
    assert gathering.whole


def test_a_watch_that_is_killed_goes_on_where_it_was_and_there_is_one_of_each(
    sightline: Run, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    save(folder, "a", "red")
    command = [sys.executable, "-P", "-m", "sightline", "watch", str(folder), "-c", "pictures", "--json"]
    variables = os.environ | environment(settings)

    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE) as first:
        assert json.loads(read_line(first, 120))["indexed"] == 1
        refused = sightline("watch", str(folder), "-c", "pictures")
        assert (refused.code, "follows" in refused.stderr) == (4, True)
        first.kill()
    save(folder, "b", "blue")
    with open_installation(settings, inline=True) as services, followed(services, folder) as watch:
        watch.finds("a.png", "b.png")
        assert watch.jobs()[0].unchanged == 1


def test_only_folders_are_followed(sightline: Run, tmp_path: Path) -> None:
    done = sightline("watch", str(tmp_path / "none"), "-c", "pictures")
    assert (done.code, "There is no folder" in done.stderr) == (2, True)
