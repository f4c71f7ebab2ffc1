"""The catalog: the one truth about collections, images, jobs, leases, segments and generations, in SQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from sightline.store.database import Database, make_engine
from sightline.store.filters import Filter
from sightline.store.migrate import migrate as bring_to_head
from sightline.store.records import (
    UNSET,
    Collection,
    Generation,
    Image,
    ImageLocation,
    ImageState,
    ItemError,
    Job,
    JobKind,
    Lease,
    Metadata,
    NewSegment,
    Page,
    Progress,
    Registered,
    Registration,
    Segment,
    Snapshot,
    Task,
    Unset,
)
from sightline.store.sql import (
    builder,
    collections,
    health,
    images,
    jobs,
    leases,
    publishing,
    queries,
    registration,
)
from sightline.store.sql.rows import collection_named


def open_catalog(url: str, migrate: bool = True, now: Callable[[], float] = time.time) -> Catalog:
    """The catalog at ``sqlite:////path/catalog.sqlite`` or ``postgresql://…``, migrated to the newest schema.

    Raises UnavailableError when the database cannot be reached or is newer than this program.
    """
    database = Database(make_engine(url))
    if migrate:
        bring_to_head(database)
    return Catalog(database.engine, now)


class Catalog:
    """Thread-safe; every method is one transaction."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._database = Database(engine)
        self._read, self._write = self._database.read, self._database.write
        self._now = now

    def close(self) -> None:
        """Gives all connections back."""
        self._database.close()

    # collections

    def create_collection(
        self,
        name: str,
        *,
        model: str,
        revision: str | None,
        fingerprint: str,
        num_query_tokens: int,
        joint_dim: int,
    ) -> Collection:
        """Creates it, or returns the existing one with the same fingerprint; else ModelMismatchError."""
        new = collections.NewCollection(name, model, revision, fingerprint, num_query_tokens, joint_dim)
        return self._write(lambda connection: collections.create(connection, self._now(), new))

    def collection(self, name: str) -> Collection:
        return self._read(lambda connection: collection_named(connection, name))

    def collections(self) -> list[Collection]:
        return self._read(collections.every)

    def collection_counts(self, name: str) -> dict[str, int]:
        """live, pending, failed, buried (images), segments (published), bytes (of published segments)."""
        return self._read(lambda connection: collections.counts(connection, name))

    def delete_collection(self, name: str) -> None:
        """Removes all its rows; its files are left to the builder's sweep."""
        self._write(lambda connection: collections.remove(connection, name))

    # jobs and registration

    def create_job(self, collection_id: int, kind: JobKind, request: Mapping[str, Any]) -> Job:
        return self._write(
            lambda connection: jobs.create(connection, self._now(), collection_id, kind, request)
        )

    def register(self, job_id: str, items: Sequence[Registration], *, batch_size: int) -> Registered:
        """Raises ConflictError when the job is sealed or cancelled, InputError for what SQL cannot store."""
        return self._write(
            lambda connection: registration.register(connection, self._now(), job_id, items, batch_size)
        )

    def record_failure(self, job_id: str, image_id: str, uri: str, reason: str, detail: str) -> None:
        failure = (image_id, uri, reason, detail)
        self._write(lambda connection: registration.record_failure(connection, self._now(), job_id, failure))

    def prune(self, job_id: str) -> int:
        """Before seal_job (else ConflictError): buries live images that this job did not see; how many."""
        return self._write(lambda connection: registration.prune(connection, self._now(), job_id))

    def seal_job(self, job_id: str) -> None:
        self._write(lambda connection: jobs.seal(connection, self._now(), job_id))

    def job(self, job_id: str) -> Job:
        return self._read(lambda connection: registration.find_job(connection, job_id))

    def jobs(self, collection: str | None = None, limit: int = 50) -> list[Job]:
        return self._read(lambda connection: jobs.recent(connection, collection, limit))

    def job_progress(self, job_id: str) -> Progress:
        return self._read(lambda connection: jobs.progress(connection, job_id))

    def job_errors(self, job_id: str, limit: int = 100) -> list[ItemError]:
        return self._read(lambda connection: jobs.errors(connection, job_id, limit))

    def cancel_job(self, job_id: str) -> None:
        """Cancels all open tasks (a worker's renew and publish then return False) and discards their
        images.
        """
        self._write(lambda connection: jobs.stop(connection, self._now(), job_id, "cancelled"))

    def fail_job(self, job_id: str) -> None:
        """As cancel_job, but the job ends as 'failed': its source could not be listed to the end."""
        self._write(lambda connection: jobs.stop(connection, self._now(), job_id, "failed"))

    def retry_job(self, job_id: str, batch_size: int = 64) -> list[int]:
        """Failed images whose bytes are known become pending in new tasks; their ids."""
        return self._write(lambda connection: jobs.retry(connection, self._now(), job_id, batch_size))

    # tasks and leases

    def task(self, task_id: int) -> Task:
        return self._read(lambda connection: leases.find_task(connection, task_id))

    def mark_sent(self, task_ids: Sequence[int]) -> None:
        self._write(lambda connection: leases.mark_sent(connection, self._now(), task_ids))

    def unsent_tasks(self, older_than: float, limit: int) -> list[int]:
        """Ready tasks never sent, or last sent at least ``older_than`` seconds ago (0: all ready tasks)."""
        return self._read(lambda connection: leases.unsent(connection, self._now(), older_than, limit))

    def acquire(self, task_id: int, owner: str, seconds: float) -> Lease | None:
        return self._write(
            lambda connection: leases.acquire(connection, self._now(), task_id, owner, seconds)
        )

    def renew(self, lease: Lease, seconds: float) -> bool:
        return self._write(lambda connection: leases.renew(connection, self._now(), lease, seconds))

    def release(self, lease: Lease) -> None:
        self._write(lambda connection: leases.release(connection, self._now(), lease))

    def expire_leases(self) -> list[int]:
        return self._write(lambda connection: leases.expire(connection, self._now()))

    def publish(
        self,
        lease: Lease,
        segment: NewSegment | None,
        failures: Sequence[tuple[int, str, str]] = (),
        sizes: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    ) -> bool:
        """Every pending image of the task is in ``segment.keys`` or in ``failures`` (else ValueError).

        ``failures``: (key, reason, detail). ``sizes``: key → width and height of each picture in the segment.
        False, and nothing written, when the lease is lost or the task cancelled.
        """
        return self._write(
            lambda connection: publishing.publish(connection, self._now(), lease, segment, failures, sizes)
        )

    def find_live_by_sha(self, collection_id: int, shas: Sequence[str]) -> dict[str, ImageLocation]:
        return self._read(lambda connection: images.live_by_sha(connection, collection_id, shas))

    # images

    def image(self, collection: str, image_id: str) -> Image:
        """The live version, else the pending or failed one; NotFoundError."""
        return self._read(lambda connection: images.one(connection, collection, image_id))

    def images(
        self,
        collection: str,
        cursor: str | None = None,
        limit: int = 50,
        filter: Filter | None = None,
        state: ImageState = "live",
    ) -> Page:
        selection = images.Selection(cursor, limit, filter, state)
        return self._read(lambda connection: images.page(connection, collection, selection))

    def update_image(
        self,
        collection: str,
        image_id: str,
        caption: str | Unset | None = UNSET,
        metadata: Metadata | Unset = UNSET,
    ) -> Image:
        """Sets caption and/or the whole metadata of the live image (and of a pending new version of it)."""
        return self._write(
            lambda connection: images.change(connection, collection, image_id, caption, metadata)
        )

    def delete_images(
        self,
        collection_id: int,
        ids: Sequence[str] | None = None,
        filter: Filter | None = None,
        job_id: str | None = None,
    ) -> int:
        """Buries live images by id and/or filter and discards pending versions of them; how many ids."""
        return self._write(
            lambda connection: images.delete(connection, self._now(), collection_id, ids, filter, job_id)
        )

    def describe(self, collection_id: int, keys: Sequence[int]) -> dict[int, Image]:
        """Live images by key; what was buried meanwhile is absent."""
        return self._read(lambda connection: images.describe(connection, collection_id, keys))

    def locations(self, keys: Sequence[int]) -> dict[int, ImageLocation]:
        return self._read(lambda connection: images.locations(connection, keys))

    # what a query needs

    def snapshot(self, collection: str) -> Snapshot:
        return self._read(lambda connection: queries.snapshot(connection, collection))

    def version(self, collection: str) -> tuple[int, int]:
        """(collection id, version): one row, cheap."""
        return self._read(lambda connection: queries.version(connection, collection))

    def filter_keys(self, collection_id: int, filter: Filter) -> NDArray[np.int64]:
        """Sorted keys of the live images that match."""
        return self._read(lambda connection: queries.filter_keys(connection, collection_id, filter))

    # builder

    def acquire_singleton(self, name: str, owner: str, seconds: float) -> bool:
        return self._write(
            lambda connection: builder.acquire_singleton(connection, self._now(), name, owner, seconds)
        )

    def renew_singleton(self, name: str, owner: str, seconds: float) -> bool:
        return self._write(
            lambda connection: builder.renew_singleton(connection, self._now(), name, owner, seconds)
        )

    def release_singleton(self, name: str, owner: str) -> None:
        self._write(lambda connection: builder.release_singleton(connection, name, owner))

    def publish_generation(self, collection_id: int, expected_number: int, generation: Generation) -> bool:
        """``expected_number`` is the current one (0: none yet); False when it, or a covered segment,
        changed.
        """
        if generation.collection_id != collection_id:
            raise ValueError("The generation is of another collection")
        return self._write(
            lambda connection: builder.publish_generation(connection, expected_number, generation)
        )

    def replace_segments(self, collection_id: int, old_ids: Sequence[int], new: NewSegment | None) -> bool:
        """``new`` (None: nothing lives) must hold every live key of the published ``old_ids``, else False.

        ConflictError when the generation covers some of them but not all.
        """
        return self._write(
            lambda connection: builder.replace_segments(connection, self._now(), collection_id, old_ids, new)
        )

    def retired_segments(self, before: float) -> list[Segment]:
        """Segments retired before that time (epoch seconds); delete their files, then forget_segments."""
        return self._read(lambda connection: builder.retired_segments(connection, before))

    def forget_segments(self, segment_ids: Sequence[int]) -> None:
        """Removes the rows of retired segments once their files are gone."""
        self._write(lambda connection: builder.forget_segments(connection, segment_ids))

    def segment_files(self) -> set[str]:
        """File names of all published and retired segments."""
        return self._read(builder.segment_files)

    def generation_files(self) -> set[str]:
        return self._read(builder.generation_files)

    def check(self) -> list[str]:
        """Broken invariants, one sentence each; empty when all is well."""
        return self._read(health.problems)
