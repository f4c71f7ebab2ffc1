"""Image ids that somebody gave, in the Unicode form in which they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from sightline.store.schema import ImageRow
from sightline.store.sql.releasing import IS_TRASHED
from sightline.store.sql.rows import chunks
from sightline.store.unicode_forms import forms


def as_stored(connection: Connection, collection_id: int, ids: Sequence[str]) -> list[str]:
    """Each id as it is given when an image has it, be it in the trash; else the one form that images have.

    So an id never means another image than its own as long as that exists. An id of which no form, or more
    than one other form is known stays as given.
    """
    asked = {image_id: forms(image_id) for image_id in ids if not image_id.isascii()}
    known = _known(connection, collection_id, asked) if asked else set()
    return [_stored(image_id, asked.get(image_id, ()), known) for image_id in ids]


def _stored(given: str, spelled: Sequence[str], known: set[str]) -> str:
    others = [form for form in spelled if form in known]
    return others[0] if given not in known and len(others) == 1 else given


def _known(connection: Connection, collection_id: int, asked: Mapping[str, Sequence[str]]) -> set[str]:
    """Those of all these forms that images have; not looked for once the id itself is found."""
    found: set[str] = set()
    # One state at a time: each but the trash, of which there is least, has an index of its own.
    for state in (*(ImageRow.state == state for state in ("live", "pending", "failed")), IS_TRASHED):
        wanted = sorted(
            {form for image_id, spelled in asked.items() if image_id not in found for form in spelled}
        )
        for chunk in chunks(wanted):
            here = (ImageRow.collection_id == collection_id, state, ImageRow.image_id.in_(chunk))
            found.update(connection.scalars(select(ImageRow.image_id).where(*here)))
    return found
