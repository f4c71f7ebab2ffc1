"""Pictures as the clients of other rerankers send them, each form with the field that it is known by."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, RootModel, Tag, ValidationInfo

from sightline.api.data_uris import BARE_BASE64, BARE_HEAD, is_data_uri
from sightline.api.problems import Problem
from sightline.api.schemas.common import CollectionName, Request, StoredId
from sightline.api.settings import ApiSettings
from sightline.fetching.schemes import is_web

URL_LIKE: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|data:|//|www\.)", re.IGNORECASE)
MAX_URL: Final = 8_192
"""Characters of a picture's address on the web."""
NOT_FETCHED: Final = (
    "Remote pictures are not fetched: send the picture itself as a data URI, or index it and send its id; "
    "SIGHTLINE_FETCH__ENABLED=true lets this server fetch pictures from the web."
)
REMOTE: Final = (
    "Pictures of this address are not fetched: send the picture itself as a data URI, or index it and send "
    "its id."
)
BARE_URL: Final = (
    'A bare string counts as text, so this URL would be scored as words. Write {"image": …} with the URL '
    'or a data URI, or {"id": …, "collection": …}.'
)
TEXT: Final = (
    'Documents are pictures here: write {"image": …} with a data URI, or {"id": …, "collection": …}.'
)
TINY_PICTURE: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mM8ISfH"
    "gA0wMeAAg1MCANDKARQfGKMRAAAAAElFTkSuQmCC"
)
"""Eight by eight pixels of red, for examples that run."""
KINDS: Final = ("image", "content", "id", "value", "image_url", "text")
"""The one field that each kind of document has."""


def kind_of(value: Any) -> str | None:
    """Which kind of document this is. Tags are no steps of a pointer."""
    if isinstance(value, UriDocument) or is_data_uri(value):
        return "tag:uri"
    names = value.model_fields_set if isinstance(value, Request) else value if isinstance(value, dict) else ()
    found = next((name for name in KINDS if name in names), None)
    if found == "text" and isinstance(value, dict) and not is_data_uri(value["text"]):
        return None
    return None if found is None else f"tag:{found}"


def refuse_text(value: Any) -> Any:
    """Say what is wrong with documents that other rerankers would take for text."""
    if kind_of(value) is None:
        raise ValueError(BARE_URL if isinstance(value, str) and URL_LIKE.match(value) else TEXT)
    return value


def picture_uri(value: str) -> str:
    """Data URIs, bare base64, and the web's: whether those are fetched, the route knows."""
    if is_data_uri(value):
        return value.strip()
    if is_web(value):
        if len(value) > MAX_URL:
            raise ValueError(f"A URL may have at most {MAX_URL:,} characters.")
        return value
    if BARE_BASE64.fullmatch(value):
        return BARE_HEAD + value
    raise ValueError(REMOTE)


PictureUri = Annotated[
    str, BeforeValidator(lambda value: picture_uri(value) if isinstance(value, str) else value)
]


class UriDocument(RootModel[PictureUri]):
    """A bare string that is a data URI, as Cohere's clients send it, which know strings only."""

    model_config = ConfigDict(
        strict=True, frozen=True, json_schema_extra={"pattern": r"^\s*[Dd][Aa][Tt][Aa]:"}
    )
    place: ClassVar = ""

    @property
    def uri(self) -> str:
        """Where the picture is."""
        return self.root

    def echo(self) -> dict[str, Any]:
        """What a client that sends strings expects back."""
        return {"text": self.root}


class TextDocument(Request):
    """``{"text": "data:…"}``: what some clients of Cohere make of a string."""

    text: PictureUri
    place: ClassVar = "/text"

    @property
    def uri(self) -> str:
        """Where the picture is."""
        return self.text

    def echo(self) -> dict[str, Any]:
        """As it came."""
        return {"text": self.text}


class ImageDocument(Request):
    """``{"image": "data:image/png;base64,…"}``, as Jina writes it."""

    image: PictureUri
    place: ClassVar = "/image"

    @property
    def uri(self) -> str:
        """Where the picture is."""
        return self.image

    def echo(self) -> dict[str, Any]:
        """As it came."""
        return {"image": self.image}


class TypedDocument(Request):
    """Elastic's ``{"type": "image", "format": "base64" | "url", "value": …}``."""

    type: Literal["image"]
    format: Literal["base64", "url"] = "base64"
    value: PictureUri
    place: ClassVar = "/value"

    @property
    def uri(self) -> str:
        """Where the picture is."""
        return self.value

    def echo(self) -> dict[str, Any]:
        """As it came."""
        return {"type": "image", "format": self.format, "value": self.value}


class ImageUrl(Request):
    """The inner object of a vLLM content part."""

    url: PictureUri
    detail: str | None = Field(None, max_length=100)


class ContentPart(Request):
    """``{"type": "image_url", "image_url": {"url": …}}``; also a document by itself."""

    type: Literal["image_url"]
    image_url: ImageUrl
    uuid: str | None = Field(None, max_length=200, description="vLLM's name for a cached picture: not used.")
    place: ClassVar = "/image_url/url"

    @property
    def uri(self) -> str:
        """Where the picture is."""
        return self.image_url.url

    def echo(self) -> dict[str, Any]:
        """As vLLM answers it."""
        return {"multi_modal": [{"type": "image_url", "image_url": {"url": self.uri}}]}


class ContentDocument(Request):
    """vLLM's ``{"content": [part]}`` with the one picture that it is about."""

    content: Annotated[list[ContentPart], Field(min_length=1, max_length=1, fail_fast=True)]
    place: ClassVar = "/content/0/image_url/url"

    @property
    def uri(self) -> str:
        """Where the picture is."""
        return self.content[0].uri

    def echo(self) -> dict[str, Any]:
        """As vLLM answers it."""
        return self.content[0].echo()


class StoredDocument(Request):
    """A picture of a collection."""

    id: Annotated[StoredId, Field(min_length=1)]
    collection: CollectionName
    place: ClassVar = ""

    def echo(self) -> dict[str, Any]:
        """As it came."""
        return {"id": self.id, "collection": self.collection}


InlineDocument = UriDocument | TextDocument | ImageDocument | TypedDocument | ContentPart | ContentDocument
"""What brings its picture, or says where on the web it is."""
InlineKinds = (
    Annotated[ImageDocument, Tag("tag:image")]
    | Annotated[ContentDocument, Tag("tag:content")]
    | Annotated[TypedDocument, Tag("tag:value")]
    | Annotated[ContentPart, Tag("tag:image_url")]
    | Annotated[TextDocument, Tag("tag:text")]
    | Annotated[UriDocument, Tag("tag:uri")]
)
GivenDocument = Annotated[InlineKinds, Discriminator(kind_of)]
Document = Annotated[
    InlineKinds | Annotated[StoredDocument, Tag("tag:id")],
    Discriminator(kind_of),
    BeforeValidator(refuse_text),
]


class ContentList(Request):
    """vLLM's other form: all pictures in one object, each a document. Only its shape is told from this."""

    content: list[ContentPart]


def spread_content(value: Any, info: ValidationInfo) -> Any:
    """vLLM's other form, one object whose ``content`` lists all pictures: one document for each part. One
    document that stands for itself is a list of one.

    Raises Problem (413) for more documents than this installation takes, before it looks at one of them.
    """
    is_spread = isinstance(value, dict) and isinstance(value.get("content"), list) and len(value) == 1
    if isinstance(value, str) or (isinstance(value, dict) and not is_spread):
        return [value]
    documents = value["content"] if is_spread else value
    settings = info.context if isinstance(info.context, ApiSettings) else ApiSettings()
    if isinstance(documents, list) and len(documents) > settings.max_documents:
        raise Problem(413, f"One request may bring at most {settings.max_documents:,} documents.")
    return [{"content": [part]} for part in documents] if is_spread else value
