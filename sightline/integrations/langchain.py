"""LangChain: a retriever over a collection, and a document compressor that reranks by pictures.

Needs ``sightline[langchain]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sightline.integrations.doors import Errors, Hit, RanksPictures, SearchesPictures, lacking
from sightline.integrations.pictures import judge, picture_in, picture_unless_skipped

try:
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever
    from pydantic import ConfigDict, Field
except ModuleNotFoundError as error:
    raise lacking("langchain", "langchain-core") from error

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun

PICTURE_KEYS: Final = ("image", "uri", "path", "source")
"""Where in a document's metadata its picture is looked for, the first that is there."""


class SightlineRetriever(BaseRetriever):
    """Finds pictures in words: a document for each hit, best first.

    ``page_content`` is the caption (empty where there is none); ``metadata`` has ``id``, ``uri``, ``rank``,
    ``score``, ``itc``, ``match_probability`` (None where ITM did not judge), ``width``, ``height``, and under
    ``metadata`` what the collection keeps. Errors are those of the collection's search.
    """

    collection: SearchesPictures
    """What is searched: a `sightline.Collection`, or whatever else can ``search``."""
    k: int = Field(10, ge=1)
    """How many documents."""
    filter: dict[str, Any] | None = None
    """A metadata filter (docs/http.md)."""
    min_probability: float | None = Field(None, ge=0, le=1)
    """Leave out what matches less likely than this."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        hits = self.collection.search(
            query, k=self.k, filter=self.filter, min_probability=self.min_probability
        )
        return [_document(hit) for hit in hits]


class SightlineReranker(BaseDocumentCompressor):
    """Puts documents in the order in which their pictures match the query, best first.

    Each is a copy with ``relevance_score`` in its metadata: the match probability.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker: RanksPictures
    """A `sightline.Reranker`."""
    top_n: int | None = Field(None, ge=1)
    """How many come back; None: all."""
    picture_keys: tuple[str, ...] = PICTURE_KEYS
    """Where in the metadata a picture is looked for: a path or URI, bytes, a PIL image, RGB."""
    errors: Errors = "raise"
    """``skip`` leaves out documents that name no picture, or one that cannot be read."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The best documents; InputError for one without a picture, and as of `sightline.Reranker.rank`."""
        pictures = [
            picture_unless_skipped(partial(picture_in, one.metadata, self.picture_keys), self.errors)
            for one in documents
        ]
        judged = judge(self.reranker, query, pictures, self.top_n, self.errors, "Document", self.picture_keys)
        return [_scored(documents[one.place], one.match_probability) for one in judged]


def _document(hit: Hit) -> Document:
    names = ("id", "uri", "rank", "score", "itc", "match_probability", "width", "height")
    told = {name: getattr(hit, name) for name in names} | {"metadata": dict(hit.metadata)}
    return Document(page_content=hit.caption or "", id=hit.id, metadata=told)


def _scored(document: Document, probability: float) -> Document:
    """A copy: the document that was given may be in other hands, too."""
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": probability}})
