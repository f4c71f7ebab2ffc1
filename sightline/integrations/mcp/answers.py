"""What the tools answer with: the structured content, whose schema the client is told."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Answer(BaseModel):
    """The structured content of one tool."""


class CollectionAnswer(Answer):
    """One collection."""

    name: str
    model: str
    images: int
    pending: int = Field(description="Pictures that are not indexed yet.")
    fields: list[str] = Field(description="Fields of the metadata that a filter can ask for.")
    can_ask: bool = Field(description="Whether a model answers questions about its pictures.")
    can_describe: bool = Field(description="Whether a model writes captions of its pictures.")


class CollectionsAnswer(Answer):
    """All collections that may be asked."""

    collections: list[CollectionAnswer]


class HitAnswer(Answer):
    """One picture that was found."""

    rank: int
    id: str
    uri: str
    match_probability: float | None = Field(
        description="That the picture shows what was asked; null: not judged."
    )
    itc: float = Field(description="Cosine of text and picture, by which candidates are found.")
    similarity: float | None = Field(description="To the picture that was asked with; null without one.")
    caption: str | None
    metadata: dict[str, Any]
    width: int
    height: int
    picture: bool = Field(description="Whether the picture itself comes with this answer, in order of rank.")


class HitsAnswer(Answer):
    """What was found, best first."""

    collection: str
    searched: int = Field(description="How many pictures could have been found.")
    results: list[HitAnswer]
    unknown_words: list[str] = Field(description="Words that the model does not know.")
    remarks: list[str] = Field(description="What is to be said of this answer, one sentence each.")


class RankAnswer(Answer):
    """One of the pictures that were given, ids first, then images; ``index`` counts from 0 over both."""

    index: int
    id: str | None
    match_probability: float
    itm_logit: float


class RanksAnswer(Answer):
    """By falling match probability."""

    model: str
    results: list[RankAnswer]
    unknown_words: list[str]
    remarks: list[str]


class DescriptionAnswer(Answer):
    """What is known of one picture."""

    id: str
    uri: str
    caption: str | None = Field(description="What it was indexed with.")
    metadata: dict[str, Any]
    width: int
    height: int
    written: str | None = Field(description="What a captioner writes of it; null where there is none.")
    captioner: str | None
    picture: bool = Field(description="Whether the picture itself comes with this answer.")
    remarks: list[str]


class OptionAnswer(Answer):
    """One of the options."""

    text: str
    probability: float


class AskedAnswer(Answer):
    """One picture and what was answered; ``problem`` says why there is no answer."""

    id: str
    answer: str | None
    probability: float | None
    options: list[OptionAnswer]
    match_probability: float | None = Field(description="The search's; null without one.")
    problem: str | None


class AnswersAnswer(Answer):
    """In the order of the pictures."""

    model: str
    results: list[AskedAnswer]
    remarks: list[str]


class DeletedAnswer(Answer):
    """How many pictures are in the trash now; `restore` brings them back."""

    collection: str
    deleted: int
    not_found: int


class RestoredAnswer(Answer):
    """What came back, and why others did not."""

    collection: str
    restored: list[str]
    refused: list[str]


class IndexedAnswer(Answer):
    """How far an indexing is."""

    collection: str
    job: str
    state: str
    indexed: int
    unchanged: int
    replaced: int
    failed: int
    pending: int
    errors: list[str] = Field(description="Why the first ones failed.")
