"""Questions about pictures over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Self

from annotated_types import Gt, Le
from pydantic import ConfigDict, Field, model_validator

from sightline.api.discretion import IN_THE_LOG, refuse_hidden_fields, shown, shown_uri
from sightline.api.schemas.common import Answer, JsonObject, Request, StoredId, Text
from sightline.api.urls import file_url, thumbnail_url
from sightline.blip.instructions import MAX_OPTIONS, TaskName
from sightline.blip.sampling import SamplingName
from sightline.captioner.answering import LATE, Question, Reply
from sightline.searching.asking import MAX_ASKED, AskedImage, AskRequest

MAX_QUESTION = 2_000
"""Characters: models read a few hundred tokens of it."""
MAX_OPTION = 200
"""Characters of one option."""


class AskBody(Request):
    """One question, about pictures by their ids or about the best of a search."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"question": "how many boats are there?", "text": "boats at night", "limit": 5},
                {
                    "question": "what is the weather like?",
                    "image_ids": ["0042.webp"],
                    "task": "multiple_choice",
                    "options": ["sunny", "cloudy", "rainy"],
                },
            ]
        }
    )

    question: Annotated[Text, Field(max_length=MAX_QUESTION)] = Field(
        "", description="What is to be answered; left out for a description."
    )
    image_ids: Annotated[
        list[Annotated[StoredId, Field(min_length=1)]], Field(max_length=MAX_ASKED, fail_fast=True)
    ] = Field([], description="The pictures; or text.")
    text: Annotated[Text, Field(min_length=1, max_length=10_000, pattern=r"\S")] | None = Field(
        None, description="The best pictures of a search for this; or image_ids."
    )
    limit: int = Field(10, ge=1, le=MAX_ASKED, description="How many of the search.")
    filter: JsonObject | None = Field(None, description="Of the search: see docs/http.md.")
    task: TaskName = Field("short_answer", description="The kind of question: see docs/asking.md.")
    options: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=MAX_OPTION)]],
        Field(max_length=MAX_OPTIONS, fail_fast=True),
    ] = Field([], description="What may be answered, for the task multiple_choice.")
    wording: int | Annotated[Text, Field(max_length=100)] = Field(
        0, description="How the question is put, by number or name."
    )
    sampling: SamplingName = Field("beam", description="How the words of a free answer are chosen.")
    model: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="A model that answers and is served here; left out for the one that is set."
    )
    deadline_ms: Annotated[float, Gt(0), Le(3_600_000)] | None = Field(
        None, description="Pictures whose turn has not come by then get no answer."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.text is None) == (not self.image_ids):
            raise ValueError("Give image_ids, or the text of a search: one of the two.")
        return self

    def to_request(self, collection: str, model: str, revision: str | None) -> AskRequest:
        """The same for one collection and model; FilterError for a filter on what is not shown."""
        refuse_hidden_fields(self.filter)
        question = Question(self.question, self.task, self.wording, tuple(self.options), self.sampling)
        return AskRequest(
            collection, question, tuple(self.image_ids), self.text, self.limit, self.filter, model, revision,
            self.deadline_ms,
        )  # fmt: skip


class OptionAnswer(Answer):
    """One of the options, and how probable it is among them."""

    text: str
    probability: float


class AskedAnswer(Answer):
    """One picture and what was answered about it; without an answer, ``reason`` and ``problem`` say why."""

    rank: int
    id: str
    uri: str = Field(description="Where it came from, or the id where this server does not show that.")
    answer: str | None
    probability: float | None = Field(description="Of the answer: see docs/asking.md.")
    options: list[OptionAnswer] = Field(description="All options in the order that they have.")
    match_probability: float | None = Field(description="The search's; null without one.")
    reason: str | None
    problem: str | None
    width: int
    height: int
    thumbnail_url: str
    file_url: str


class AskAnswer(Answer):
    """All answers, in the order of the pictures."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "Salesforce/instructblip-flan-t5-xl",
                    "prompt": "Question: how many boats are there? Short answer:",
                    "count": 1,
                    "results": [
                        {
                            "rank": 1,
                            "id": "0042.webp",
                            "uri": "0042.webp",
                            "answer": "two",
                            "probability": 0.81,
                            "options": [],
                            "match_probability": 0.993,
                            "reason": None,
                            "problem": None,
                            "width": 384,
                            "height": 384,
                            "thumbnail_url": "/v1/collections/demo/images/0042.webp/thumbnail?v=5d41402a",
                            "file_url": "/v1/collections/demo/images/0042.webp/file?v=5d41402a",
                        }
                    ],
                    "degraded": [],
                }
            ]
        }
    )

    model: str
    prompt: str = Field(description="What the model was asked, in the wording of the task.")
    count: int
    results: list[AskedAnswer]
    degraded: list[str] = Field(description="What the search had to do without.")


def asked_answer(asked: AskedImage, collection: str, root: str) -> AskedAnswer:
    """One picture's answer as JSON."""
    image, reply = asked.image, asked.reply
    place = (collection, image.image_id, image.sha256, root)
    return AskedAnswer(
        rank=asked.rank,
        id=image.image_id,
        uri=shown_uri(image.image_id, image.uri),
        answer=reply.answer,
        probability=reply.probability,
        options=[OptionAnswer.of(one) for one in reply.options],
        match_probability=asked.match_probability,
        reason=reply.reason,
        problem=_told(reply),
        width=image.width or 0,
        height=image.height or 0,
        thumbnail_url=thumbnail_url(*place),
        file_url=file_url(*place),
    )


def begun(model: str, prompt: str, count: int) -> dict[str, Any]:
    """What a stream begins with."""
    return {"model": model, "prompt": prompt, "count": count}


def _told(reply: Reply) -> str | None:
    """Why there is no answer, as this caller is told it: the sentence may name a file of the server's."""
    if reply.problem is None or reply.reason == LATE or shown.get().details:
        return reply.problem
    return f"The original of this picture cannot be used. {IN_THE_LOG}"
