"""Failure lines of a job's sources: what could not be registered, under the id that it would have had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, insert

from sightline.store.records import Job
from sightline.store.schema import ImageRow
from sightline.store.sql.registration import open_job
from sightline.store.sql.releasing import discard
from sightline.store.sql.rows import IMAGES, chunks, is_in, update_many
from sightline.store.sql.seen import mark_seen
from sightline.store.sql.sources import source_ids
from sightline.store.values import line_id, printable
from sightline.store.work_records import Failure


def record_failures(connection: Connection, now: float, job_id: str, failures: Sequence[Failure]) -> None:
    """Failure lines of a job. A live version goes on serving; a pending one of another job stays.

    What stands under no id that could be stored has a line all the same, under a name that is cut. Of several
    lines under one id the last one stays.
    """
    job = open_job(connection, job_id)
    sources = source_ids(connection, now, job.collection_id, (failure.source for failure in failures))
    for lines in _unlike(failures):
        for chunk in chunks(lines):
            named = (ImageRow.collection_id == job.collection_id, ImageRow.image_id.in_(chunk))
            discard(connection, now, [*named, is_in("failed")])
        met = {name: 0 if line.source is None else sources[line.source] for name, line in lines.items()}
        mark_seen(connection, job_id, met)
        rows = [_failed_row(now, job, name, line) for name, line in lines.items()]
        update_many(connection, insert(IMAGES), rows)


def _unlike(failures: Iterable[Failure]) -> Iterator[dict[str, Failure]]:
    """By the id that each is filed under, in parts in which none comes twice."""
    part: dict[str, Failure] = {}
    for failure in failures:
        name = line_id(failure.image_id)
        if name in part:
            yield part
            part = {}
        part[name] = failure
    if part:
        yield part


def _failed_row(now: float, job: Job, name: str, failure: Failure) -> dict[str, Any]:
    return {
        "collection_id": job.collection_id,
        "image_id": name,
        "sha256": "",
        "uri": printable(failure.uri),
        "metadata": {},
        "bytes": 0,
        "state": "failed",
        "job_id": job.id,
        "reason": printable(failure.reason),
        "detail": printable(failure.detail),
        "created_at": now,
    }
