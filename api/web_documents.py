"""Documents of a request that are on the web: refused unless the operator turned it on, else fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from sightline.api.documents import RequestPictures, data_of
from sightline.api.problems import Problem, invalid
from sightline.api.schemas.rerank import (
    NOT_FETCHED,
    ContentDocument,
    Document,
    ImageDocument,
    StoredDocument,
)
from sightline.errors import ImageRejected
from sightline.fetching.schemes import is_web
from sightline.serving.scheduler import client_gone

if TYPE_CHECKING:
    from sightline.fetching.budget import Budget
    from sightline.fetching.client import Fetcher
    from sightline.types import RGB

AT_ONCE = 4
"""Pictures that are fetched at once for one request."""


def web_documents(documents: Sequence[Document], fetcher: Fetcher | None) -> dict[int, str]:
    """URLs by the position of their documents; nothing is fetched yet.

    Raises:
        Problem: they are not fetched here, are too many, or one of them never will be.
    """
    found = {
        index: document.uris()[0]
        for index, document in enumerate(documents)
        if not isinstance(document, StoredDocument) and is_web(document.uris()[0])
    }
    if not found:
        return found
    first = next(iter(found))
    if fetcher is None:
        raise invalid(pointer_of(documents, first), NOT_FETCHED)
    most = fetcher.settings.max_documents
    if len(found) > most:
        raise Problem(413, f"One request may bring at most {most:,} documents that are URLs.")
    for index, url in found.items():
        try:
            fetcher.check(url)
        except ImageRejected as error:
            raise invalid(pointer_of(documents, index), f"Document {index}: {error.detail}") from error
    return found


def fetch_documents(documents: Sequence[Document], fetcher: Fetcher | None) -> dict[int, bytes]:
    """The bytes of all documents that are URLs, by position; a few at once. For a thread, not the loop.

    Raises:
        Problem: as `web_documents`, or one of them cannot be fetched.
        OverloadedError: too many requests fetch already.
    """
    wanted = web_documents(documents, fetcher)
    if not wanted or fetcher is None:
        return {}
    gone = client_gone.get()

    def one(index: int, budget: Budget) -> bytes:
        if gone is not None and gone.is_set():
            raise ImageRejected("abandoned", "Nobody waits for the answer any more.")
        return fetcher.fetch(wanted[index], budget)

    with fetcher.request() as budget, ThreadPoolExecutor(AT_ONCE, "fetch") as pool:
        running = {index: pool.submit(partial(one, index, budget)) for index in wanted}
        fetched: dict[int, bytes] = {}
        for index, future in running.items():
            try:
                fetched[index] = future.result()
            except ImageRejected as error:
                budget.end()
                pool.shutdown(wait=False, cancel_futures=True)
                raise invalid(pointer_of(documents, index), f"Document {index}: {error.detail}") from error
    return fetched


def decoded(
    documents: Sequence[Document], index: int, pictures: RequestPictures, fetched: Mapping[int, bytes]
) -> RGB:
    """The pixels [H,W,3] of a document that came with the request, or was ``fetched`` for it."""
    document, pointer = documents[index], pointer_of(documents, index)
    assert not isinstance(document, StoredDocument)

    def data() -> bytes:
        return fetched[index] if index in fetched else data_of(document.uris()[0], pointer)

    return pictures.rgb(index, pointer, data)


def pointer_of(documents: Sequence[Document], index: int) -> str:
    """Where the address or the data of a document stands in the body, as RFC 6901 says it."""
    document = documents[index]
    if isinstance(document, ContentDocument):
        return f"/documents/{index}/content/0/image_url/url"
    return f"/documents/{index}/image" if isinstance(document, ImageDocument) else f"/documents/{index}"
