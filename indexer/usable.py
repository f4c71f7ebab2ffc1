"""Whether a picture that was listed can be registered."""

from __future__ import annotations

from sightline.errors import InputError
from sightline.indexer.items import TOLD_TOO_MUCH, SourceItem, SourceProblem
from sightline.indexer.roots import OUTSIDE, Roots
from sightline.store.told import check_told
from sightline.store.values import check_image_id


def usable(item: SourceItem, roots: Roots, most: int) -> SourceItem | SourceProblem:
    """The item, or a problem in its place: it lies outside of the roots, has an impossible name, or more than
    ``most`` bytes of metadata.
    """
    if not roots.allow(item.uri):
        # Without its address: where a link leads is nobody's business who may not read it.
        detail = f"{item.image_id} cannot be read: {OUTSIDE}."
        return SourceProblem(item.image_id, item.image_id, "forbidden", detail)
    try:
        check_image_id(item.image_id)
    except InputError as error:
        detail = str(error)
        return SourceProblem(item.image_id, item.uri, "unsupported", detail)
    try:
        check_told(item.image_id, item.caption, item.metadata, most)
    except InputError as error:
        return SourceProblem(item.image_id, item.uri, TOLD_TOO_MUCH, str(error))
    return item
