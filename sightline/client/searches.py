"""Requests that a model answers: searches, reranking, questions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from sightline.client.calls import Call, Json, document, listed, of_collection, unreadable
from sightline.client.reading import record_of
from sightline.client.refusals import problem
from sightline.errors import InputError
from sightline.queries import ROLES, Query
from sightline.records import (
    Effort,
    IndexUse,
    InstructedMatcher,
    Outcome,
    Precision,
    ScoreName,
    SearchRequest,
    SearchResponse,
)
from sightline.rerank_records import StoredImage

_APART: Final = frozenset({"collection", "query", "matcher", "image"})
"""Fields of a search that are written in another way than as they are."""


def search(
    collection: str,
    text: str = "",
    *,
    image: bytes | None = None,
    image_id: str | None = None,
    query: Query | None = None,
    limit: int = 10,
    offset: int = 0,
    candidates: int = 100,
    rerank: bool = True,
    score: ScoreName = "itm+itc",
    filter: Mapping[str, Any] | None = None,
    min_probability: float | None = None,
    precision: Precision = "fast",
    deadline_ms: float | None = None,
    effort: Effort | None = None,
    matcher: InstructedMatcher | None = None,
    texts: bool = True,
    index: IndexUse = "auto",
    collapse: bool = False,
    explain: bool = False,
    sort: str | None = None,
    exact: bool = False,
    cursor: str | None = None,
) -> Call[SearchResponse]:
    """Find pictures by words, by a picture (``image``: a file's bytes; ``image_id``: one stored), or both.

    The other fields are those of `sightline.SearchRequest`. A hit's ``key`` is 0, and its ``uri`` the id,
    where the server does not show them.
    """
    request = SearchRequest(
        collection=collection, text=text, limit=limit, offset=offset, candidates=candidates, rerank=rerank,
        score=score, filter=filter, min_probability=min_probability, precision=precision,
        deadline_ms=deadline_ms, effort=effort, matcher=matcher, texts=texts, index=index, collapse=collapse,
        image=_stored(collection, image, image_id), explain=explain, sort=sort, exact=exact, cursor=cursor,
        query=query,
    )  # fmt: skip
    return asked(request, image)


def similar(
    collection: str,
    *,
    image: bytes | None = None,
    image_id: str | None = None,
    limit: int = 10,
    offset: int = 0,
    filter: Mapping[str, Any] | None = None,
) -> Call[SearchResponse]:
    """Find pictures like one: ``image``, the bytes of a file, or ``image_id``, an image of the collection."""
    if (image is None) == (image_id is None):
        raise InputError("Name one picture: its bytes, or the id of an image of the collection.")
    return search(collection, image=image, image_id=image_id, limit=limit, offset=offset, filter=filter)


def asked(request: SearchRequest, picture: bytes | None = None) -> Call[SearchResponse]:
    """A search as it is; ``picture``: the bytes of the one to ask with, in place of ``request.image``."""
    body = _body(request)
    if picture is not None:
        body["image"] = data_uri(picture)
    return Call("POST", f"{of_collection(request.collection)}/search", found, body)


def _body(request: SearchRequest) -> Json:
    body: Json = {one.name: getattr(request, one.name) for one in fields(request) if one.name not in _APART}
    if not request.text:
        del body["text"]
    if request.query is not None:
        body["query"] = {role: [asdict(one) for one in getattr(request.query, role)] for role in ROLES}
    if request.matcher is not None:
        body["matcher"] = {"instruction": request.matcher.instruction, "model": request.matcher.model}
    if isinstance(request.image, StoredImage):
        body["image"] = asdict(request.image)
    return body


def _batched(collection: str, search: SearchRequest | str) -> Json:
    request = SearchRequest(collection, search) if isinstance(search, str) else search
    if request.collection != collection:
        raise InputError(
            f"A batch asks one collection, {collection!r}; send those of {request.collection!r} apart."
        )
    return _body(request)


def search_batch(collection: str, searches: Sequence[SearchRequest | str]) -> Call[list[Outcome]]:
    """Many searches, one answer: texts, or requests with whatever else; an `Outcome` for each, in order.

    What no collection could answer refuses all of them: InputError.
    """
    body: Json = {"searches": [_batched(collection, one) for one in searches]}
    return Call("POST", f"{of_collection(collection)}/search/batch", outcomes, body)


def rerank(
    query: str,
    documents: bytes | StoredImage | Sequence[bytes | StoredImage],
    *,
    top_n: int | None = None,
    model: str | None = None,
) -> Call[Json]:
    """Order pictures (bytes of files, or images of collections) by how well they match a text."""
    some = [documents] if isinstance(documents, bytes | StoredImage) else documents
    body: Json = {"query": query, "documents": [_document(one) for one in some]}
    body |= {"top_n": top_n, "model": model}
    return Call("POST", "/v1/rerank", document, body)


def ask(
    collection: str,
    question: str = "",
    *,
    image_ids: str | Sequence[str] = (),
    text: str | None = None,
    limit: int = 10,
    filter: Mapping[str, Any] | None = None,
    task: str = "short_answer",
    options: Sequence[str] = (),
    wording: int | str = 0,
    model: str | None = None,
    deadline_ms: float | None = None,
) -> Call[Json]:
    """Ask a question about pictures, by their ids or the best ones of a search for ``text``."""
    body: Json = {
        "question": question, "image_ids": listed(image_ids), "text": text, "limit": limit, "filter": filter,
        "task": task, "options": list(options), "wording": wording, "model": model,
        "deadline_ms": deadline_ms,
    }  # fmt: skip
    return Call("POST", f"{of_collection(collection)}/ask", document, body)


def found(body: bytes) -> SearchResponse:
    """The answer of a search."""
    return _response(document(body))


def outcomes(body: bytes) -> list[Outcome]:
    """The answers of a batch, and what became of the others."""
    return [_outcome(one) for one in _objects(document(body), "answers")]


def _outcome(told: Json) -> Outcome:
    answer, failed = told.get("answer"), told.get("problem")
    if isinstance(answer, dict):
        return Outcome(_response(answer))
    if not isinstance(failed, dict) or not {"status", "detail"} <= failed.keys():
        raise unreadable("answers")
    return Outcome(error=problem(failed))


def _response(told: Json) -> SearchResponse:
    for hit in _objects(told, "results"):
        hit["key"] = hit.get("key") or 0
    return record_of(SearchResponse, told)


def data_uri(picture: bytes) -> str:
    """A picture inside of JSON; which format it has, its bytes say. Raises InputError: no bytes."""
    try:
        return f"data:application/octet-stream;base64,{b64encode(picture).decode()}"
    except TypeError as error:
        kind = type(picture).__name__
        said = f"A picture is sent as the bytes of its file (Path(…).read_bytes()), not as {kind}."
        raise InputError(said) from error


def _document(given: bytes | StoredImage) -> Json:
    return asdict(given) if isinstance(given, StoredImage) else {"image": data_uri(given)}


def _stored(collection: str, image: bytes | None, image_id: str | None) -> StoredImage | None:
    if image is not None and image_id is not None:
        raise InputError("Ask with one picture: its bytes, or the id of a stored one.")
    return None if image_id is None else StoredImage(collection, image_id)


def _objects(told: Json, name: str) -> list[Json]:
    """The JSON objects of one list of an answer. UnavailableError: it is no such list."""
    found = told.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise unreadable(name)
    return found
