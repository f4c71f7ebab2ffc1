"""Scoring pairs in vLLM's shape: a text on one side, a picture on the other."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    RootModel,
    Tag,
    model_validator,
)

from sightline.api.schemas.accepted import Accepted, MetaAnswer, UsageAnswer
from sightline.api.schemas.common import Answer
from sightline.api.schemas.documents import (
    BARE_URL,
    TINY_PICTURE,
    URL_LIKE,
    ContentList,
    InlineDocument,
    InlineKinds,
    StoredDocument,
    kind_of,
    spread_content,
)
from sightline.api.schemas.rerank import Words, words_of

SIDE: Final = (
    'Write a text as a string, and a picture as {"image": …} with a data URI or {"id": …, "collection": …}.'
)


class TextSide(RootModel[Words]):
    """A text."""

    model_config = ConfigDict(
        strict=True, frozen=True, json_schema_extra={"pattern": r"^(?!\s*[Dd][Aa][Tt][Aa]:)[\s\S]*\S"}
    )
    place: ClassVar = ""


def _side_of(value: Any) -> str | None:
    if isinstance(value, TextSide):
        return "tag:words"
    return kind_of(value) or ("tag:words" if isinstance(value, str) else None)


def _one_side(value: Any) -> Any:
    """A text as a string. Raises ValueError for what is neither text nor picture."""
    value = words_of(value)
    kind = _side_of(value)
    if kind == "tag:words" and isinstance(value, str) and URL_LIKE.match(value):
        raise ValueError(BARE_URL)
    if kind is None:
        raise ValueError(SIDE)
    return value


Side = Annotated[
    InlineKinds | Annotated[StoredDocument, Tag("tag:id")] | Annotated[TextSide, Tag("tag:words")],
    Discriminator(_side_of),
    BeforeValidator(_one_side),
]
Sides = Annotated[
    list[Side],
    Field(min_length=1, fail_fast=True),
    BeforeValidator(spread_content, json_schema_input_type=list[Side] | Side | ContentList),
]

FIRST: Final = ("queries", "text_1", "data_1")
SECOND: Final = ("documents", "items", "text_2", "data_2")
"""What vLLM calls the two sides, and has called them."""


class ScoreBody(Accepted):
    """Score pairs of a text and a picture: one with each of many, or two lists pair by pair."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"queries": "a red car", "documents": [{"image": TINY_PICTURE}]},
                {
                    "model": "jinaai/jina-reranker-m0",
                    "queries": "a red car",
                    "documents": {"content": [{"type": "image_url", "image_url": {"url": TINY_PICTURE}}]},
                },
                {"queries": {"image": TINY_PICTURE}, "documents": ["a red car", "a blue house"]},
            ]
        }
    )

    queries: Sides = Field(
        validation_alias=AliasChoices(*FIRST),
        description="A text or a picture, one or as many as documents; text_1 and data_1 are other names.",
    )
    documents: Sides = Field(
        validation_alias=AliasChoices(*SECOND),
        description="Pictures where queries are texts, texts where they are pictures; items, text_2 and "
        "data_2 are other names.",
    )
    _names: tuple[str, str] = PrivateAttr((FIRST[0], SECOND[0]))

    @model_validator(mode="wrap")
    @classmethod
    def _remember_names(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        body = handler(value)
        if isinstance(value, dict):
            first, second = (next(name for name in names if name in value) for names in (FIRST, SECOND))
            body._names = (first, second)
        return body

    @model_validator(mode="after")
    def _pairs_up(self) -> Self:
        first, second = len(self.queries), len(self.documents)
        if first not in (1, second):
            raise ValueError(
                f"One query is scored with each document, or as many as there are documents pair by pair; "
                f"these are {first:,} and {second:,}."
            )
        for index, pair in enumerate(self.pairs()):
            texts = sum(isinstance(one, TextSide) for one, _ in pair)
            if texts != 1:
                kind = "two texts" if texts else "two pictures"
                raise ValueError(f"A pair is one text and one picture; pair {index} is {kind}.")
        return self

    def pairs(self) -> list[tuple[Placement, Placement]]:
        """Both sides of each pair, with where they stand in the body."""
        sides = (self.queries, self.documents)
        first, second = (
            [(one, f"/{name}/{index}{one.place}") for index, one in enumerate(side)]
            for name, side in zip(self._names, sides, strict=True)
        )
        return list(zip(first * len(second) if len(first) == 1 else first, second, strict=True))


Placement = tuple[InlineDocument | StoredDocument | TextSide, str]


class ScoredAnswer(Answer):
    """One pair, by its position."""

    index: int
    object: str = "score"
    score: float = Field(
        description="The match probability, calibrated (see docs/scoring.md); with use_activation false the "
        "match logit."
    )


class ScoreAnswer(Answer):
    """Scores of all pairs, in their order."""

    id: str
    object: str = "list"
    created: int = Field(description="Seconds since 1970, UTC.")
    model: str
    data: list[ScoredAnswer]
    usage: UsageAnswer
    truncated: bool
    degraded: list[str]
    unknown_words: list[str]
    notes: list[str] = Field(description="What is to be said of the answer and of the model.")
    meta: MetaAnswer


class ModelAnswer(Answer):
    """A model that may be named."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "sightline"


class ModelsAnswer(Answer):
    """The model that requests without a name are answered by, as OpenAI's and vLLM's clients ask for it."""

    object: str = "list"
    data: list[ModelAnswer]
