"""The catalog: the one truth about collections, images, jobs, leases, segments and generations, in SQL."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sightline.store.database import Database, make_engine, named, read, read_at, write, write_at
from sightline.store.migrate import migrate as bring_to_head
from sightline.store.sql import (
    builder,
    collections,
    finishing,
    health,
    images,
    items,
    jobs,
    leases,
    pruning,
    publishing,
    queries,
    registration,
    releasing,
    singletons,
    sources,
)
from sightline.store.sql.rows import collection_named

if TYPE_CHECKING:
    from sqlalchemy import Engine


def open_catalog(url: str, migrate: bool = True, now: Callable[[], float] = time.time) -> Catalog:
    """The catalog at ``sqlite:////path/catalog.sqlite`` or ``postgresql://…``, migrated to the newest schema.

    Raises UnavailableError when the database cannot be reached or is newer than this program.
    """
    database = Database(make_engine(url))
    if migrate:
        bring_to_head(database)
    return Catalog(database.engine, now)


@named
class Catalog:
    """Thread-safe; every method is one transaction: the SQL function of that name, which documents it.

    The functions stand in ``sightline/store/sql``: a parameter is added there, and nowhere else. In a group
    the name that hides its module stands last.
    """

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self.database = Database(engine)
        self.now = now

    def close(self) -> None:
        """Gives all connections back."""
        self.database.close()

    create_collection = write_at(collections.create)
    collection = read(collection_named)
    collection_counts = read(collections.counts)
    delete_collection = write_at(collections.remove)
    collections = read(collections.every)

    create_job = write_at(jobs.create)
    register = write_at(registration.register)
    record_failure = write_at(registration.record_failure)
    add_tasks = write_at(items.add_tasks)
    note_duplicates = write_at(registration.note_duplicates)
    prunable = write(pruning.prunable)
    prune = write_at(pruning.prune)
    move_source = write_at(sources.move)
    sources = read(sources.known)
    seal_job = write_at(jobs.seal)
    job = read(registration.find_job)
    job_progress = read(jobs.progress)
    job_errors = read(jobs.errors)
    job_reasons = read(jobs.reasons)
    cancel_job = write_at(jobs.cancel)
    fail_job = write_at(jobs.fail)
    retry_job = write_at(jobs.retry)
    jobs = read(jobs.recent)

    task = read(leases.find_task)
    mark_sent = write_at(leases.mark_sent)
    unsent_tasks = read_at(leases.unsent)
    acquire = write_at(leases.acquire)
    renew = write_at(leases.renew)
    release = write_at(leases.release)
    expire_leases = write_at(leases.expire)
    publish = write_at(publishing.publish)
    finish = write_at(finishing.finish)

    image = read(images.one)
    update_image = write(images.change)
    delete_images = write_at(images.delete)
    describe = read(images.describe)
    locations = read(images.locations)
    find_live_by_sha = read(images.live_by_sha)
    images = read(images.page)

    snapshot = read(queries.snapshot)
    version = read(queries.version)
    filter_keys = read(queries.filter_keys)

    acquire_singleton = write_at(singletons.acquire)
    renew_singleton = write_at(singletons.renew)
    release_singleton = write(singletons.release)
    publish_generation = write(builder.publish_generation)
    replace_segments = write_at(builder.replace_segments)
    retired_segments = read(builder.retired_segments)
    forget_segments = write(builder.forget_segments)
    segment_files = read(builder.segment_files)
    generation_files = read(builder.generation_files)

    releasable_blobs = write(releasing.releasable)
    is_referenced = read(releasing.is_referenced)
    forget_blobs = write(releasing.forget)

    check = read(health.problems)
