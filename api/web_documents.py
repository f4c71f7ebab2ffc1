"""Documents of a request that are on the web: refused unless the operator turned it on, else fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sightline.api.data_uris import data_of
from sightline.api.documents import RequestPictures
from sightline.api.problems import Problem, invalid
from sightline.api.schemas.documents import NOT_FETCHED, InlineDocument, StoredDocument
from sightline.errors import ImageRejected
from sightline.fetching.schemes import is_web
from sightline.rerank_records import PendingImage, RerankDocument, StoredImage
from sightline.serving.scheduler import client_gone

if TYPE_CHECKING:
    from sightline.fetching.budget import Budget
    from sightline.fetching.client import Fetcher
    from sightline.types import RGB

AT_ONCE = 4
"""Pictures that are fetched at once for one request."""


class Placed(NamedTuple):
    """A document, and where its address or its data stands in the body, as RFC 6901 says it."""

    document: InlineDocument | StoredDocument
    pointer: str

    @property
    def uri(self) -> str:
        """Empty for a stored one."""
        return "" if isinstance(self.document, StoredDocument) else self.document.uri


def placed(documents: Iterable[InlineDocument | StoredDocument]) -> list[Placed]:
    """As the field ``documents`` of a body holds them."""
    return [Placed(one, f"/documents/{index}{one.place}") for index, one in enumerate(documents)]


def web_documents(documents: Sequence[Placed], fetcher: Fetcher | None) -> dict[int, str]:
    """URLs by the position of their documents; nothing is fetched yet.

    Raises:
        Problem: they are not fetched here, are too many, or one of them never will be.
    """
    found = {index: one.uri for index, one in enumerate(documents) if is_web(one.uri)}
    if not found:
        return found
    if fetcher is None:
        raise invalid(documents[next(iter(found))].pointer, NOT_FETCHED)
    most = fetcher.settings.max_documents
    if len(found) > most:
        raise Problem(413, f"One request may bring at most {most:,} documents that are URLs.")
    for index, url in found.items():
        try:
            fetcher.check(url)
        except ImageRejected as error:
            raise invalid(documents[index].pointer, f"Document {index}: {error.detail}") from error
    return found


def fetch_documents(documents: Sequence[Placed], fetcher: Fetcher | None) -> dict[int, bytes]:
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
                raise invalid(documents[index].pointer, f"Document {index}: {error.detail}") from error
    return fetched


def decoded(
    documents: Sequence[Placed], index: int, pictures: RequestPictures, fetched: Mapping[int, bytes]
) -> RGB:
    """The pixels [H,W,3] of a document that came with the request, or was ``fetched`` for it."""
    one = documents[index]

    def data() -> bytes:
        return fetched[index] if index in fetched else data_of(one.uri, one.pointer)

    return pictures.rgb(index, one.pointer, data)


def to_score(
    documents: Sequence[Placed], pictures: RequestPictures, fetched: Mapping[int, bytes]
) -> tuple[RerankDocument, ...]:
    """The documents; a picture is decoded when its turn comes to be scored, after the request was let in."""
    return tuple(
        StoredImage(one.document.collection, one.document.id)
        if isinstance(one.document, StoredDocument)
        else PendingImage(partial(decoded, documents, index, pictures, fetched))
        for index, one in enumerate(documents)
    )
