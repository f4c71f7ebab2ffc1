"""Calibrations of collections: one row for each that was fitted, none is ever changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from sightline.store.schema_calibrations import CalibrationRow
from sightline.store.sql.rows import require_collection


@dataclass(frozen=True)
class StoredCalibration:
    """``parameters``: as `sightline.blip.calibration` reads them; ``report``: how it was fitted, how well."""

    version: int
    kind: str
    parameters: Mapping[str, Any]
    report: Mapping[str, Any]
    created_at: float


_SELECT = select(
    CalibrationRow.version, CalibrationRow.kind, CalibrationRow.parameters, CalibrationRow.report,
    CalibrationRow.created_at,
)  # fmt: skip


def newest(connection: Connection, collection_id: int, fingerprint: str) -> StoredCalibration | None:
    """The one that serves; None where none was ever fitted."""
    return next(iter(history(connection, collection_id, fingerprint, limit=1)), None)


def history(
    connection: Connection, collection_id: int, fingerprint: str, limit: int = 100
) -> list[StoredCalibration]:
    """Those of one model, the newest first."""
    mine = (CalibrationRow.collection_id == collection_id, CalibrationRow.fingerprint == fingerprint)
    rows = _SELECT.where(*mine).order_by(CalibrationRow.version.desc()).limit(limit)
    return [StoredCalibration(*row) for row in connection.execute(rows)]


def add(
    connection: Connection,
    now: float,
    collection_id: int,
    fingerprint: str,
    kind: str,
    parameters: Mapping[str, Any],
    report: Mapping[str, Any],
) -> int:
    """Serves from now on; its version. NotFoundError: no collection."""
    require_collection(connection, collection_id)
    mine = (CalibrationRow.collection_id == collection_id, CalibrationRow.fingerprint == fingerprint)
    last = connection.scalar(select(func.max(CalibrationRow.version)).where(*mine)) or 0
    row = {
        "collection_id": collection_id, "fingerprint": fingerprint, "version": last + 1, "kind": kind,
        "parameters": dict(parameters), "report": dict(report), "created_at": now,
    }  # fmt: skip
    connection.execute(insert(CalibrationRow).values(row))
    return last + 1
