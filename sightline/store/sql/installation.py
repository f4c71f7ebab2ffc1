"""Whose catalog this is, and what its builder last wrote into the folders."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from sightline.store.schema import InstallationRow


class Stamps(NamedTuple):
    """What may stand in a folder of this very catalog, and what is written there next."""

    known: frozenset[str]
    next: str


def installation_id(connection: Connection) -> str:
    """The id of the installation."""
    return str(connection.scalar(select(InstallationRow.id)))


def moment(connection: Connection, now: float) -> float:
    """The time of this catalog, in seconds since the epoch."""
    return now


def stamps(connection: Connection) -> Stamps:
    """Before a builder looks at its folders. One that did not live to end writes the same as it did."""
    current, coming = connection.execute(
        select(InstallationRow.stamp, InstallationRow.next_stamp).with_for_update()
    ).one()
    coming = coming or uuid.uuid4().hex
    connection.execute(update(InstallationRow).values(next_stamp=coming))
    return Stamps(frozenset(stamp for stamp in (current, coming) if stamp is not None), coming)


def known_stamps(connection: Connection) -> frozenset[str]:
    """What may stand in a folder of this very catalog now."""
    row = connection.execute(select(InstallationRow.stamp, InstallationRow.next_stamp)).one()
    return frozenset(stamp for stamp in row if stamp is not None)


def stamped(connection: Connection, stamp: str) -> None:
    """All folders carry it."""
    connection.execute(update(InstallationRow).values(stamp=stamp, next_stamp=None))


def renew(connection: Connection) -> None:
    """Whatever stands in the folders counts as known at the next look (they were adopted)."""
    connection.execute(update(InstallationRow).values(stamp=None, next_stamp=None))
