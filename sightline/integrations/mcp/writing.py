"""The tools that change something; a server has them only where whoever starts it says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sightline.errors import InputError, NotFoundError
from sightline.integrations.mcp.answers import DeletedAnswer, IndexedAnswer, RestoredAnswer
from sightline.integrations.mcp.told import Told

if TYPE_CHECKING:
    from sightline.integrations.mcp.arguments import IdsArguments, IndexArguments
    from sightline.integrations.mcp.opened import Opened

ERRORS_TOLD = 10


class Writing:
    """Changes collections of one installation; thread-safe."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._house = opened.house

    def delete(self, asked: IdsArguments) -> Told:
        """Move pictures to the trash."""
        collection = self._opened.collection(asked.collection)
        deleted = self._house.catalog.delete_images(collection.id, ids=asked.ids)
        if not deleted:
            raise NotFoundError(f"None of these pictures is in {collection.name}; nothing was deleted.")
        missing = len(set(asked.ids)) - deleted
        return Told(DeletedAnswer(collection=collection.name, deleted=deleted, not_found=missing))

    def restore(self, asked: IdsArguments) -> Told:
        """Bring pictures back from the trash."""
        collection = self._opened.collection(asked.collection)
        done = self._house.catalog.restore_images(collection.id, asked.ids)
        refused = [f"{one.id}: {one.detail}" for one in done.refused]
        return Told(RestoredAnswer(collection=collection.name, restored=done.restored, refused=refused))

    def index(self, asked: IndexArguments) -> Told:
        """Index what lies in a folder that was named for it, in this process, for as long as was said."""
        collection = self._opened.collection(asked.collection)
        until = time.monotonic() + asked.seconds
        indexer = self._house.indexer
        job = indexer.begin([asked.path], collection.name, roots=self._opened.folders)
        indexer.register(job.id)
        while True:
            # One batch at a time: in between the server may be told to end.
            progress = indexer.wait(job.id, timeout=0)
            done = not progress.pending or time.monotonic() >= until
            if done or self._opened.stopping.is_set():
                break
        report = self._house.catalog.job_report(job.id, ERRORS_TOLD)
        if report.job.state == "failed" and progress.total == 0:
            raise InputError(report.job.detail or f"Nothing of {asked.path} could be indexed.")
        return Told(
            IndexedAnswer(
                collection=collection.name,
                job=job.id,
                state=progress.state,
                indexed=progress.indexed,
                unchanged=progress.unchanged,
                replaced=progress.replaced,
                failed=progress.failed,
                pending=progress.pending,
                errors=[f"{one.id}: {one.reason}: {one.detail}" for one in report.errors],
            )
        )
