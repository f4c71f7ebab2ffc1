"""The picture that a search asks with: in its JSON, stored, on the web, or uploaded beside it."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from fastapi import UploadFile

from sightline.api.data_uris import data_of
from sightline.api.problems import invalid
from sightline.api.schemas.documents import NOT_FETCHED
from sightline.api.schemas.query_pictures import StoredPicture
from sightline.errors import ImageRejected
from sightline.fetching.schemes import is_web
from sightline.rerank_records import PendingImage, StoredImage

if TYPE_CHECKING:
    from sightline.api.access import Access
    from sightline.api.documents import RequestPictures
    from sightline.api.schemas.query_pictures import QueryPicture
    from sightline.fetching.client import Fetcher
    from sightline.rerank_records import RerankDocument

POINTER = "/image"


def check_picture(picture: QueryPicture | None, access: Access) -> None:
    """404 for a stored picture of a collection that the key is not for, as if it did not exist."""
    if isinstance(picture, StoredPicture) and picture.collection is not None:
        access.require_collection(picture.collection)


def query_picture(
    picture: QueryPicture | None, collection: str, pictures: RequestPictures, fetcher: Fetcher | None
) -> RerankDocument | None:
    """As the search takes it: decoded once that is let in. What is on the web is fetched here: for a thread.

    Raises:
        Problem: 422 for an address that is not fetched, or cannot be.
        OverloadedError: too many requests fetch already.
    """
    if picture is None:
        return None
    if isinstance(picture, StoredPicture):
        return StoredImage(picture.collection or collection, picture.id)
    if not is_web(picture):
        decode = partial(pictures.rgb, None, POINTER, lambda: data_of(picture, POINTER))
        return PendingImage(decode, hashlib.sha256(picture.encode()).hexdigest())
    return given_picture(_fetched(picture, fetcher), pictures)


def given_picture(data: bytes, pictures: RequestPictures) -> PendingImage:
    """The bytes of a picture file: for a thread, since all of them are hashed."""
    decode = partial(pictures.rgb, None, POINTER, lambda: data)
    return PendingImage(decode, hashlib.sha256(data).hexdigest())


async def read_picture(files: list[UploadFile]) -> bytes:
    """The one file of a form. Raises Problem: 422 for several files, or an empty one."""
    if len(files) != 1:
        raise invalid(POINTER, f"Send one picture in the field image, not {len(files)}.")
    data = await files[0].read()
    if not data:
        raise invalid(POINTER, "The file in the field image is empty; send a picture.")
    return data


def _fetched(url: str, fetcher: Fetcher | None) -> bytes:
    if fetcher is None:
        raise invalid(POINTER, NOT_FETCHED)
    try:
        fetcher.check(url)
        with fetcher.request() as budget:
            return fetcher.fetch(url, budget)
    except ImageRejected as error:
        raise invalid(POINTER, f"The query picture: {error.detail}") from error
