"""Fields that clients of other rerankers send: honoured where they mean something here, else told of."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from sightline.api.schemas.common import Answer, Request, Text

UNUSED: Final = {
    "max_tokens_per_doc": "pictures have no tokens",
    "max_chunks_per_doc": "pictures have no chunks",
    "max_tokens_per_query": "a text is read up to the model's own limit",
    "truncate_prompt_tokens": "a text is read up to the model's own limit",
    "truncation_side": "a text is read from its beginning",
    "truncation": "a text is read up to the model's own limit",
    "padding": "the model pads by itself",
    "rank_fields": "pictures have no fields",
    "relevant_spans": "pictures have no spans",
    "instruction": "the model takes no instruction",
    "priority": "requests take turns",
    "user": "nothing is counted by user",
    "request_id": "the header X-Request-ID names a request",
    "cache_salt": "nothing of a request is kept for others",
    "mm_processor_kwargs": "pictures are prepared as the model was trained",
    "task_settings": "its settings are fields of the body here",
}
"""What is accepted and not used, and why."""

Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Word = Annotated[Text, Field(max_length=1024)]


class Accepted(Request):
    """The fields that a rerank and a score share, apart from what is scored."""

    model: Annotated[Text, Field(max_length=200)] | None = Field(
        None,
        description="A model that is served here. The name of another's (rerank-v3.5) stands for the "
        "default; meta.warnings says so.",
    )
    use_activation: bool | None = Field(
        None, description="false: scores are the match logits, not the match probabilities."
    )
    encoding_format: Literal["float"] | None = None
    max_tokens_per_doc: Number | None = Field(None, description="Accepted and not used, as all that follow.")
    max_chunks_per_doc: Number | None = None
    max_tokens_per_query: Number | None = None
    truncate_prompt_tokens: Number | None = None
    truncation_side: Literal["left", "right"] | None = None
    truncation: bool | None = None
    padding: Word | None = None
    rank_fields: list[Word] | None = Field(None, max_length=100)
    relevant_spans: dict[str, Any] | None = None
    instruction: Annotated[Text, Field(max_length=10_000)] | None = None
    priority: Number | None = None
    user: Word | None = None
    request_id: Word | None = None
    cache_salt: Word | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    task_settings: dict[str, Any] | None = None

    def warnings(self) -> list[str]:
        """One sentence for each field that was sent and is not used."""
        sent = [name for name in UNUSED if getattr(self, name) is not None]
        return [f"{name} was not used: {UNUSED[name]}." for name in sent]


class UsageAnswer(Answer):
    """What clients of paid services look for."""

    prompt_tokens: int = Field(description="Tokens are not counted here: always 0.")
    total_tokens: int


class MetaAnswer(Answer):
    """About the answer, where Cohere's clients look."""

    warnings: list[str] = Field(description="Fields and names that were accepted and not used.")
