"""Saved searches over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field

from sightline.api.discretion import shown
from sightline.api.schemas.common import Answer, Moment, Request, Text
from sightline.api.schemas.query import QueryBody
from sightline.fetching.targets import MAX_URL, shown_receiver
from sightline.searching.saved_questions import MAX_TEXT, to_json
from sightline.store.records import UNSET, Unset
from sightline.store.saved_records import MemberPage, SavedMember, SavedSearch
from sightline.store.values import COLLECTION_NAME

SavedText = Annotated[
    Text,
    Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S", description="What the pictures should show."),
]
Least = Annotated[
    float, Field(ge=0, le=1, description="Members have at least this match probability, in float32.")
]
Webhook = Annotated[
    Text, Field(min_length=1, max_length=MAX_URL, description="Is told of each member: see docs/http.md.")
]


class ChangedSavedSearch(Request):
    """What a saved search asks from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "a red car", "min_probability": 0.7}]})

    text: SavedText | None = None
    query: QueryBody | None = Field(None, description="In place of text: what pictures should show and not.")
    min_probability: Least
    webhook: Webhook | None = Field(None, description="Left out: as it is; null: nobody is told any more.")

    @property
    def question(self) -> dict[str, Any]:
        """What of this body says what is looked for."""
        given: dict[str, Any] = {} if self.text is None else {"text": self.text}
        return given if self.query is None else given | {"query": to_json(self.query.to_query())}

    @property
    def told(self) -> str | Unset | None:
        """The webhook, when it was given."""
        return self.webhook if "webhook" in self.model_fields_set else UNSET


class NewSavedSearch(ChangedSavedSearch):
    """A question that is asked of every picture: of those that are there, and of all that come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "red-cars", "text": "a red car", "min_probability": 0.7},
                {
                    "name": "cars-outside",
                    "query": {"all": ["a red car"], "none": ["a house"]},
                    "min_probability": 0.6,
                },
                {
                    "name": "boats",
                    "text": "two boats at night",
                    "min_probability": 0.5,
                    "webhook": "https://example.org/hooks/boats",
                },
            ]
        }
    )

    name: Annotated[str, Field(pattern=COLLECTION_NAME, description="Letters, digits, '.', '_' and '-'.")]


class WebhookAnswer(Answer):
    """How calls of a webhook go. ``waiting``, ``failed``: members to be told yet, and given up."""

    url: str = Field(description="Its scheme and host; the rest may be a secret.")
    waiting: int
    failed: int
    delivered: int
    delivered_at: Moment | None
    trouble: str | None = Field(description="Why the last call failed; null since one was answered.")


class SavedSearchAnswer(Answer):
    """A saved search as it stands. ``pending``: pictures to be judged yet; then it lacks nobody."""

    collection: str
    name: str
    text: str | None = Field(description="Null where it is a query of clauses.")
    query: dict[str, Any] | None = Field(description="Its clauses; null where it is a text.")
    min_probability: float
    created_at: Moment
    members: int
    pending: int
    unjudged: int = Field(description="Pictures that could not be judged; they are tried again.")
    trouble: str | None = Field(description="Why nothing is judged now.")
    webhook: WebhookAnswer | None


class SavedSecretAnswer(SavedSearchAnswer):
    """The same with what signs the calls of its webhook."""

    webhook_secret: str | None = Field(description="Told once, when there comes to be a webhook; else null.")


class SavedSearchList(Answer):
    """All saved searches of a collection by name."""

    items: list[SavedSearchAnswer]


class MemberAnswer(Answer):
    """A picture that fits. ``id`` grows in the order of joining."""

    id: int
    image_id: str
    match_probability: float
    joined_at: Moment

    @classmethod
    def of_member(cls, member: SavedMember) -> Self:
        """As it is told everywhere."""
        return cls.of(member, match_probability=member.probability)


class MemberList(Answer):
    """A page of members in the order of joining."""

    items: list[MemberAnswer]
    next_cursor: str | None


def saved_answer(search: SavedSearch) -> SavedSearchAnswer:
    """As its caller is shown it."""
    return SavedSearchAnswer.of(search, **_made(search))


def saved_secret_answer(search: SavedSearch, secret: str | None) -> SavedSecretAnswer:
    """To whoever has saved it."""
    return SavedSecretAnswer.of(search, webhook_secret=secret, **_made(search))


def member_list(page: MemberPage) -> MemberList:
    """A page as JSON has it."""
    return MemberList(items=[MemberAnswer.of_member(one) for one in page.items], next_cursor=page.next_cursor)


def _made(search: SavedSearch) -> dict[str, Any]:
    webhook = search.webhook
    return {
        "text": search.question.get("text"),
        "query": search.question.get("query"),
        "trouble": _shown_trouble(search.trouble),
        "webhook": None if webhook is None else WebhookAnswer.of(webhook, url=shown_receiver(webhook.url)),
    }


def _shown_trouble(trouble: str | None) -> str | None:
    """Sentences about models and disks name folders."""
    if trouble is None or shown.get().details:
        return trouble
    return "Pictures cannot be judged now. The server's log has the reason."
