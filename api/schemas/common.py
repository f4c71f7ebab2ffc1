"""What every schema shares: strictness, JSON that any database can store, times, and the problem document."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)

from sightline.errors import InputError
from sightline.records import Doc, parameters
from sightline.store.moments import moment_at
from sightline.store.values import COLLECTION_NAME, MAX_ID_BYTES, check_image_id, check_json, check_text

MAX_CURSOR = 500
"""Characters of a cursor, at most."""
MOST_UNKNOWN = 20
"""Unknown fields of one object that are told one by one."""


class Request(BaseModel):
    """A body: unknown fields are errors, and a string is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        """An error for each of 100,000 unknown fields would take a hundred times their memory."""
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + MOST_UNKNOWN:
            raise ValueError(
                f"This object has {len(value):,} fields, and only {len(cls.model_fields)} are known."
            )
        return value


def body_of(
    record: type, name: str, *, without: Container[str], stricter: Mapping[str, Sequence[Any]]
) -> type[Request]:
    """The fields of a record as those of a body: their types, bounds, defaults and descriptions.

    ``without`` are the fields that come from elsewhere; ``stricter`` are checks that HTTP adds to them.
    """
    made: dict[str, Any] = {}
    for field in (one for one in fields(record) if one.name not in without):
        kind, own = parameters(record)[field.name]
        description = next((one.text for one in own if isinstance(one, Doc)), None)
        default = ... if field.default is MISSING else field.default
        limits = (*own, *stricter.get(field.name, ()))
        made[field.name] = (Annotated[(kind, *limits)], Field(default, description=description))
    return create_model(name, __base__=Request, **made)


class Answer(BaseModel):
    """A response body, made from the attributes of a record: fields that are called the same, nested too."""

    model_config = ConfigDict(frozen=True, from_attributes=True, serialize_by_alias=True)

    @classmethod
    def of(cls, record: object, **made: Any) -> Self:
        """From a record; ``made`` are the fields that it does not have under their names."""
        return cls.model_validate(
            {name: getattr(record, name) for name in cls.model_fields if name not in made} | made
        )


def storable_text(text: str) -> str:
    """Refuse what the catalog cannot hold: NUL and half of a surrogate pair."""
    try:
        check_text("The text", text)
    except InputError as error:
        raise ValueError(str(error)) from error
    return text


def storable_json(value: Any) -> Any:
    """Refuse JSON that the catalog cannot hold or compare: NaN, huge integers, NUL, too deep nesting."""
    try:
        check_json(value, "JSON")
    except InputError as error:
        raise ValueError(str(error)) from error
    return value


def image_id(text: str) -> str:
    """Refuse what no image may be called."""
    try:
        check_image_id(text)
    except InputError as error:
        raise ValueError(str(error)) from error
    return text


def is_too_long(text: str) -> bool:
    """Whether it is longer than any image id, and any other name."""
    return len(text) > MAX_ID_BYTES or len(text.encode(errors="replace")) > MAX_ID_BYTES


def stored_id(text: str) -> str:
    """Refuse what is longer than any image id; shorter ones are found, or not, whatever is in them."""
    if is_too_long(text):
        raise ValueError(f"No image has an id of more than {MAX_ID_BYTES:,} bytes.")
    return text


Text = Annotated[str, AfterValidator(storable_text)]
JsonObject = Annotated[dict[str, Any], AfterValidator(storable_json)]
CollectionName = Annotated[
    str, Field(pattern=COLLECTION_NAME, description="Letters, digits, '.', '_' and '-'.")
]
ImageId = Annotated[str, AfterValidator(image_id)]
StoredId = Annotated[Text, AfterValidator(stored_id)]
"""The id of an image that is there already."""


def _moment(value: Any) -> Any:
    return moment_at(value) if isinstance(value, float) else value


Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A time: UTC epoch seconds, as the catalog keeps them, become what JSON shows (RFC 3339)."""


class FieldProblem(Answer):
    """One thing that is wrong with a request."""

    pointer: str | None = Field(None, description="RFC 6901 pointer into the body, such as '#/limit'.")
    parameter: str | None = Field(None, description="Name of a query, path or form parameter.")
    detail: str


class ProblemDocument(Answer):
    """RFC 9457 problem details: the body of every error, as application/problem+json."""

    type: str = Field(examples=["urn:sightline:problem:not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no collection 'holidays'."])
    instance: str = Field(examples=["/v1/collections/holidays"])
    request_id: str | None = None
    errors: list[FieldProblem] = []
