"""What each tool takes, as the client is told it: every text, list and number has a bound."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sightline.blip.instructions import MAX_OPTIONS, TaskName
from sightline.errors import NotJsonError
from sightline.store.json_text import read_json

MOST_HITS = 50
MOST_PICTURES = 20
"""Pictures in one answer: an assistant reads each of them."""
MOST_DOCUMENTS = 100
LARGEST_SIDE = 1024
LONGEST_BASE64 = 45_000_000
"""Characters of one picture that is given: 32 MiB of a file."""


def _unquoted(value: Any) -> Any:
    """Some clients write lists and objects as a text of JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return read_json(value)
        except NotJsonError as error:
            raise ValueError(f"is no JSON: {error}") from error
    return value


Text = Annotated[str, Field(max_length=10_000)]
Id = Annotated[str, Field(min_length=1, max_length=1024)]
Collection = Annotated[
    str | None,
    Field(max_length=200, description="The collection; may be left out where there is one. See collections."),
]
Filter = Annotated[
    dict[str, Any] | None,
    BeforeValidator(_unquoted),
    Field(description='On metadata, such as {"must": [{"field": "year", "range": {"gte": 2019}}]}.'),
]
Base64 = Annotated[str, Field(min_length=1, max_length=LONGEST_BASE64)]
Ids = Annotated[
    list[Id], BeforeValidator(_unquoted), Field(max_length=MOST_DOCUMENTS, description="Ids of pictures.")
]
Shown = Annotated[
    int, Field(ge=0, le=MOST_PICTURES, description="How many of the best come with their picture.")
]


class Arguments(BaseModel):
    """Of one tool; what it does not know is refused, since it was meant to do something."""

    model_config = ConfigDict(extra="forbid")


class Nothing(Arguments):
    """No arguments."""


class SearchArguments(Arguments):
    """Of ``search``."""

    query: Text = Field(description="What the pictures should show, in plain words: a dog on a beach.")
    collection: Collection = None
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    min_probability: float | None = Field(
        None, ge=0, le=1, description="Leave out what matches less likely than this."
    )
    filter: Filter = None
    pictures: Shown = 4


class SimilarArguments(Arguments):
    """Of ``similar``."""

    id: Id | None = Field(
        None, description="The picture of the collection that others should be like; or image."
    )
    image: Base64 | None = Field(None, description="A picture file in base64, in place of an id.")
    collection: Collection = None
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    filter: Filter = None
    pictures: Shown = 4

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.id is None) == (self.image is None):
            raise ValueError("name one picture, by id or by image")
        return self


class RerankArguments(Arguments):
    """Of ``rerank``."""

    query: Text = Field(description="What the pictures should show.")
    ids: Ids = Field(default_factory=list)
    images: Annotated[list[Base64], BeforeValidator(_unquoted), Field(max_length=MOST_DOCUMENTS)] = Field(
        default_factory=list, description="Picture files in base64, beside or in place of ids."
    )
    collection: Collection = None
    top_n: int | None = Field(None, ge=1, description="How many results; left out: all.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not 0 < len(self.ids) + len(self.images) <= MOST_DOCUMENTS:
            raise ValueError(f"name between 1 and {MOST_DOCUMENTS} pictures, by ids or images")
        return self


class DescribeArguments(Arguments):
    """Of ``describe``."""

    id: Id = Field(description="The picture.")
    collection: Collection = None
    write: bool = Field(True, description="Whether a captioner writes of it, where there is one.")
    side: int = Field(
        512, ge=0, le=LARGEST_SIDE, description="Pixels of the longer side of the picture; 0: without it."
    )


class AskArguments(Arguments):
    """Of ``ask``."""

    question: Text = Field(description="What is asked about each picture: how many boats are there?")
    ids: Ids = Field(default_factory=list)
    text: Text | None = Field(
        None, description="In place of ids: ask about the best pictures of a search for this."
    )
    k: int = Field(5, ge=1, le=MOST_HITS, description="How many of the search.")
    filter: Filter = None
    task: TaskName = Field("short_answer", description="The kind of question.")
    options: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        BeforeValidator(_unquoted),
        Field(max_length=MAX_OPTIONS),
    ] = Field(default_factory=list, description="What may be answered, for the task multiple_choice.")
    collection: Collection = None


class IdsArguments(Arguments):
    """Of ``delete`` and ``restore``."""

    ids: Annotated[
        list[Id],
        BeforeValidator(_unquoted),
        Field(min_length=1, max_length=MOST_DOCUMENTS, description="Ids of pictures."),
    ]
    collection: Collection = None


class IndexArguments(Arguments):
    """Of ``index``."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="A picture, a folder, an archive or a manifest."
    )
    collection: Collection = None
    seconds: float = Field(
        45, ge=0, le=600, description="Answer after so long at the latest; the same call again goes on."
    )
