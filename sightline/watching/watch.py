"""Following folders: one whole listing at the start, then what changes, by name.

A folder that goes (a disk that was taken away) is waited for, and nothing of it is pruned; when it is back it
is listed whole, as after a restart: so whatever happened meanwhile is found.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sightline.errors import SightlineError, UnavailableError
from sightline.index_run import begin, following
from sightline.indexer.installations import OwnFolders
from sightline.indexer.plan import Plan
from sightline.watching.gathering import Gathering

if TYPE_CHECKING:
    from watchfiles import Change

    from sightline.wiring import Installation

LOOK_MILLISECONDS: Final = 250
LOOK_SECONDS: Final = 1.0
"""How often it is looked whether a folder is back."""
FLOOD: Final = 10_000
"""Changes at once from which on some may have been lost: systems keep no more of them (16,384 on Linux)."""
RETRY_SECONDS: Final = 30.0
"""After trouble (a database that is away) a folder is listed anew so much later."""
PRUNE_LIMIT: Final = "100"
"""Pictures that one batch of changes may take to the trash unasked: each was seen to go."""


@dataclass(frozen=True)
class Watched:
    """What is followed, and how. ``prune_limit``: as of `sightline.indexer.plan.Plan`."""

    folders: Sequence[str]
    collection: str
    model: str | None = None
    copy: bool = False
    prune: bool = True
    prune_limit: str | None = None
    id_prefix: str = ""
    poll: bool = False


@dataclass(frozen=True)
class Told:
    """What a watch says: of a job that has ended (``job``), else a sentence."""

    folder: str
    job: str | None = None
    sentence: str | None = None
    whole: bool = False


Tell = Callable[[Told], None]
Turn = Callable[[], None]
"""Does some of what waits, or sees that somebody does; then rests."""


class Watch:
    """Follows folders until ``stopped`` says so, or an exception (Ctrl-C) ends it."""

    def __init__(
        self,
        services: Installation,
        watched: Watched,
        turn: Turn,
        tell: Tell,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._services = services
        self._watched = watched
        self._turn = turn
        self._tell = tell
        self._stopped = stopped
        self._own = OwnFolders(services.settings.own_folders)
        self._gathered = {folder: Gathering(folder, self._own) for folder in watched.folders}
        self._away: set[str] = set()
        self._rest_until = 0.0

    def run(self) -> None:
        """Follow. UnavailableError: the system watches no more folders."""
        for gathering in self._gathered.values():
            gathering.list_all()
        while not self._stopped():
            here = self._present()
            if here:
                self._session(here)
            else:
                time.sleep(LOOK_SECONDS)

    def _session(self, here: dict[str, tuple[int, int]]) -> None:
        """Until a folder comes or goes: then what the system watches is no longer what is there."""
        looked = time.monotonic()
        with closing(self._changes(list(here))) as changes:
            for batch in changes:
                self._note(batch, list(here))
                if self._stopped() or place_changed(here):
                    break
                self._index(list(here))
                if time.monotonic() - looked >= LOOK_SECONDS:
                    looked = time.monotonic()
                    if self._present().keys() != here.keys():
                        return
        for folder, place in here.items():
            if place_of(folder) != place:
                self._gathered[folder] = Gathering(folder, self._own)
                self._gathered[folder].list_all()

    def _present(self) -> dict[str, tuple[int, int]]:
        """The folders that are there; one that went, or came back, is told of once."""
        places = {folder: place_of(folder) for folder in self._watched.folders}
        for folder, place in places.items():
            if place is None and folder not in self._away:
                self._away.add(folder)
                said = f"{folder} is not there; nothing of it is pruned, and it is waited for."
                self._tell(Told(folder, sentence=said))
            elif place is not None and folder in self._away:
                self._away.discard(folder)
                self._gathered[folder].list_all()
                self._tell(Told(folder, sentence=f"{folder} is there again."))
        return {folder: place for folder, place in places.items() if place is not None}

    def _changes(self, folders: Sequence[str]) -> Generator[set[tuple[Change, str]]]:
        """What happened, and an empty set whenever nothing did for a moment. It watches before it returns."""
        from watchfiles import watch

        try:
            yield from watch(
                *folders, watch_filter=None, debounce=1000, rust_timeout=LOOK_MILLISECONDS,
                yield_on_timeout=True, force_polling=self._watched.poll or None,
                ignore_permission_denied=True,
            )  # fmt: skip
        except FileNotFoundError:
            return  # it went in this moment
        except OSError as error:
            raise UnavailableError(
                f"The folders cannot be watched: {error}. Allow more watches (fs.inotify.max_user_watches), "
                "or look at them with --poll."
            ) from error

    def _note(self, batch: set[tuple[Change, str]], folders: Sequence[str]) -> None:
        from watchfiles import Change

        if len(batch) >= FLOOD:
            for folder in folders:
                self._gathered[folder].list_all()
            return
        for change, path in batch:
            for folder in folders:
                if path.startswith(folder.rstrip("/") + "/"):
                    self._gathered[folder].note(path, modified=change is Change.modified)

    def _index(self, folders: Sequence[str]) -> None:
        if time.monotonic() < self._rest_until:
            return
        for folder in folders:
            gathering = self._gathered[folder]
            try:
                if gathering.whole:
                    gathering.whole = False
                    self._all_of(folder)
                names = gathering.settled() if gathering.waits else []
                if names:
                    self._some_of(folder, names)
            except SightlineError as error:
                gathering.list_all()
                self._rest_until = time.monotonic() + RETRY_SECONDS
                self._tell(Told(folder, sentence=f"{error} It is tried again in {RETRY_SECONDS:.0f} s."))

    def _all_of(self, folder: str) -> None:
        how = self._watched
        plan = Plan((folder,), how.copy, how.prune, how.prune_limit, how.id_prefix)
        job, _ = begin(self._services, plan, how.collection, how.model)
        self._ended(folder, job.id, whole=True)

    def _some_of(self, folder: str, names: Sequence[str]) -> None:
        how = self._watched
        if place_of(folder) is None:  # all that was in it seems to be gone, and is only away
            self._gathered[folder].list_all()
            return
        job = self._services.indexer.index(
            [folder], how.collection, copy=how.copy, prune=how.prune,
            prune_limit=how.prune_limit or PRUNE_LIMIT, id_prefix=how.id_prefix, only=names,
        )  # fmt: skip
        self._ended(folder, job.id, whole=False)

    def _ended(self, folder: str, job_id: str, *, whole: bool) -> None:
        """Wait for the workers; what they have not done when told to stop waits for the next ones."""
        for _ in following(self._services, job_id, self._turn):
            if self._stopped():
                return
        self._tell(Told(folder, job_id, whole=whole))


def place_of(folder: str) -> tuple[int, int] | None:
    """Device and inode of a folder; None when there is none."""
    try:
        state = os.stat(folder)
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if os.path.isdir(folder) else None


def place_changed(here: dict[str, tuple[int, int]]) -> bool:
    """Whether one of these folders is gone, or another one stands (or is mounted) in its place."""
    return any(place_of(folder) != place for folder, place in here.items())
