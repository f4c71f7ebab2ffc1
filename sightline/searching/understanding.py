"""Which kind of question a request asks: a text, clauses, a picture, or a picture with words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.searching.checks import has_words
from sightline.searching.compound_question import CompoundQuestion
from sightline.searching.explaining import Reasons
from sightline.searching.picture_question import PictureQuestion, beside_picture
from sightline.searching.query_pictures import QueryPicture
from sightline.searching.text_question import TextQuestion

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.records import SearchRequest
    from sightline.retriever.together import Together
    from sightline.searching.questions import Question
    from sightline.searching.search_parts import SearchParts
    from sightline.serving.scheduler import Admission
    from sightline.serving.shared_model import SharedModel
    from sightline.store.records import Collection


def question_of(
    parts: SearchParts,
    admitted: Admission,
    request: SearchRequest,
    collection: Collection,
    together: Together | None = None,
) -> Question:
    """The question of a request that was let in; its model is loaded where one is needed.

    ``together``: what a plain text is searched for beside.

    Raises:
        NotFoundError, ConflictError, UnavailableError: a stored query picture cannot be had.
        ModelUnavailableError, ModelMismatchError: the collection's model cannot.
    """
    picture = None if request.image is None else QueryPicture(parts, collection, request.image)
    if picture is not None and not has_words(request):
        model = None
        if picture.needs_model:
            model = admitted.share(parts.models.encoder(collection), request.deadline_ms)
        return PictureQuestion(parts, request, picture, model, None)
    bare = parts.models.encoder(collection)
    shared = admitted.share(bare, request.deadline_ms)
    if picture is None:
        return _in_words(parts, admitted, request, collection, bare, shared, together)
    words = _in_words(parts, admitted, beside_picture(request), collection, bare, shared)
    return PictureQuestion(parts, request, picture, shared, words)


def _in_words(
    parts: SearchParts,
    admitted: Admission,
    request: SearchRequest,
    collection: Collection,
    bare: RetrievalModel,
    shared: SharedModel,
    together: Together | None = None,
) -> TextQuestion | CompoundQuestion:
    if request.query is not None:
        return CompoundQuestion(parts, request, request.query, collection, shared)
    judging = None
    if request.matcher is not None:
        judging = parts.instructing.of(admitted, collection, request.matcher, request.text)
        admitted.until(request.deadline_ms)
    reasons = Reasons(parts.patches, collection, bare, shared, admitted) if request.explain else None
    return TextQuestion(parts, request, collection, shared, judging, reasons, together)
