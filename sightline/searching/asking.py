"""Questions about pictures: those of a collection, the best ones of a search, or pictures that were given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sightline.captioner.answering import LATE, Question, Reply, replies
from sightline.errors import DeadlineError, ImageRejected, InputError, UnavailableError
from sightline.records import SearchRequest
from sightline.searching.instructing import FeaturesOf
from sightline.searching.remembered import FeatureMemory, FeatureSource, Remembered
from sightline.serving.writing import SharedAnswerer

if TYPE_CHECKING:
    from sightline.blip.protocols import Answerer
    from sightline.searching.search import Search
    from sightline.serving.models import Models
    from sightline.serving.scheduler import Scheduler
    from sightline.serving.writers import WriterNames
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, Image
    from sightline.types import RGB

log = logging.getLogger(__name__)
MAX_ASKED: Final = 100
"""Pictures of one question: each costs a few passes of a language model."""
TOGETHER: Final = 4
"""Pictures in one turn of the model: others wait for that long, and so does the first answer."""


@dataclass(frozen=True)
class AskRequest:
    """A question about images of a collection: those of ``image_ids``, or the best of a search for ``text``.

    ``limit`` and ``filter`` are the search's; ``model`` None: the default (docs/asking.md). ``deadline_ms``
    counts from when the model is there: images whose turn has not come by then get no answer.
    """

    collection: str
    question: Question
    image_ids: tuple[str, ...] = ()
    text: str | None = None
    limit: int = 10
    filter: Mapping[str, Any] | None = None
    model: str | None = None
    revision: str | None = None
    deadline_ms: float | None = None


@dataclass(frozen=True)
class AskedImage:
    """One image and what was answered; ``match_probability`` is the search's, None without one."""

    rank: int
    image: Image
    match_probability: float | None
    reply: Reply


@dataclass(frozen=True)
class Asked:
    """``answers`` come as they are ready, in the order of the images; ``count``: how many there will be."""

    model: str
    prompt: str
    count: int
    degraded: tuple[str, ...]
    answers: Iterator[AskedImage]


@dataclass(frozen=True)
class AskedGiven:
    """The same for pictures that were given: ``replies`` in their order."""

    model: str
    prompt: str
    replies: Iterator[Reply]


@dataclass(frozen=True)
class _Found:
    images: Sequence[tuple[Image, float | None]]
    degraded: tuple[str, ...] = ()


class Asking:
    """Answers questions over the collections of one installation. Thread-safe."""

    def __init__(
        self,
        catalog: Catalog,
        models: Models,
        scheduler: Scheduler,
        search: Search,
        names: WriterNames,
        features: FeaturesOf,
        memory: FeatureMemory,
    ) -> None:
        self._catalog = catalog
        self._models = models
        self._scheduler = scheduler
        self._search = search
        self._names = names
        self._features = features
        self._memory = memory

    @contextmanager
    def ask(self, request: AskRequest) -> Iterator[Asked]:
        """The answers, which are to be read in this block: a place in the queue is held for as long.

        Raises:
            InputError: a request that contradicts itself.
            FilterError: a filter that cannot be understood.
            NotFoundError: no such collection or image.
            CheckpointError: the model answers no questions.
            ModelUnavailableError, ModelMismatchError: a model cannot be had.
            UnavailableError: an image is not indexed yet; while reading: the model gives no numbers.
            OverloadedError: too many requests wait already.
        """
        prompt = request.question.prompt()
        check(request)
        collection = self._catalog.collection(request.collection)
        found = self._find(request, collection)
        named = self._names.answerer(collection, request.model, request.revision)
        with self._scheduler.admit() as admitted:
            model = SharedAnswerer(self._models.answerer(named.model, named.revision), admitted)
            identity = self._models.identify_writer(named.model, "asking", named.revision)
            source = Remembered(self._features(collection, model, identity), self._memory, model)
            admitted.until(request.deadline_ms)
            answers = _answers(request.question, model, source, found.images)
            yield Asked(named.model, prompt, len(found.images), found.degraded, answers)

    @contextmanager
    def ask_given(
        self,
        question: Question,
        pictures: Sequence[Callable[[], RGB]],
        *,
        model: str | None = None,
        revision: str | None = None,
    ) -> Iterator[AskedGiven]:
        """The same about pictures that are decoded when their turn comes, [H,W,3] each; one that raises
        ImageRejected has that as its problem.

        Raises:
            InputError, CheckpointError, ModelUnavailableError, OverloadedError: as of ``ask``.
        """
        prompt = question.prompt()
        if not pictures:
            raise InputError("No picture was given; name at least one.")
        named = self._names.answerer(None, model, revision)
        with self._scheduler.admit() as admitted:
            shared = SharedAnswerer(self._models.answerer(named.model, named.revision), admitted)
            yield AskedGiven(named.model, prompt, _replies_to_given(question, shared, pictures))

    def _find(self, request: AskRequest, collection: Collection) -> _Found:
        if request.text is None:
            return _Found([(self._live(request.collection, one), None) for one in request.image_ids])
        response = self._search.find(
            SearchRequest(request.collection, request.text, limit=request.limit, filter=request.filter)
        )
        images = self._catalog.describe_found(collection.id, [hit.key for hit in response.results])
        return _Found(
            [
                (images[hit.key], hit.match_probability)
                for hit in response.results
                if hit.key in images  # purged meanwhile
            ],
            response.degraded,
        )

    def _live(self, collection: str, image_id: str) -> Image:
        image = self._catalog.image(collection, image_id)
        if image.state != "live":
            raise UnavailableError(f"Image {image_id} of {collection} is not indexed yet ({image.state}).")
        return image


def check(request: AskRequest) -> None:
    """InputError for what no collection could answer."""
    if (request.text is None) == (not request.image_ids):
        raise InputError("Ask about images by their ids or about the best of a search: give one of the two.")
    if request.filter is not None and request.text is None:
        raise InputError("A filter is one of a search: give the text of a search with it, or leave it out.")
    if len(request.image_ids) > MAX_ASKED or request.limit > MAX_ASKED:
        raise InputError(f"A question may be about at most {MAX_ASKED} images.")
    if request.limit < 1:
        raise InputError("The parameter limit must be at least 1.")


def _answers(
    question: Question,
    model: Answerer,
    source: FeatureSource,
    images: Sequence[tuple[Image, float | None]],
) -> Iterator[AskedImage]:
    late = False
    for start in range(0, len(images), TOGETHER):
        batch = [image for image, _ in images[start : start + TOGETHER]]
        try:
            made = {} if late else _batch(question, model, source, batch)
        except DeadlineError:
            made, late = {}, True
        for place, (image, match) in enumerate(images[start : start + TOGETHER], start + 1):
            yield AskedImage(place, image, match, made.get(image.key) or _late())


def _batch(
    question: Question, model: Answerer, source: FeatureSource, images: Sequence[Image]
) -> dict[int, Reply]:
    """Replies by key: an answer of those that can be seen, the trouble with the others."""
    seen, features = source.of(images)
    answered = replies(question, model, features) if seen else []
    made = {image.key: reply for image, reply in zip(seen, answered, strict=True)}
    for image in images:
        if image.key not in made:
            error = source.refused[image.key]
            log.warning("Image %s gets no answer: %s", image.image_id, error)
            made[image.key] = _without(error)
    return made


def _replies_to_given(
    question: Question, model: Answerer, pictures: Sequence[Callable[[], RGB]]
) -> Iterator[Reply]:
    for start in range(0, len(pictures), TOGETHER):
        yield from _given_batch(question, model, pictures[start : start + TOGETHER])


def _given_batch(
    question: Question, model: Answerer, pictures: Sequence[Callable[[], RGB]]
) -> Iterator[Reply]:
    import torch

    pixels, refused = [], dict[int, ImageRejected]()
    for place, decode in enumerate(pictures):
        try:
            pixels.append(model.preprocess([decode()]))  # far smaller, before the next is decoded
        except ImageRejected as error:
            refused[place] = error
    answered: list[Reply] = []
    if pixels:
        features = model.features(model.encode_patches(torch.cat(pixels)))
        answered = replies(question, model, features)
    good = iter(answered)
    for place in range(len(pictures)):
        yield _without(refused[place]) if place in refused else next(good)


def _late() -> Reply:
    return Reply(None, None, reason=LATE, problem="The time was up before the turn of this image came.")


def _without(error: ImageRejected) -> Reply:
    return Reply(None, None, reason=error.reason, problem=error.detail)
