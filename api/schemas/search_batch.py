"""Many searches in one request, and their answers."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from sightline.api.schemas.common import Answer, ProblemDocument, Request
from sightline.api.schemas.search import SearchAnswer
from sightline.api.schemas.search_body import SearchBody


class BatchBody(Request):
    """Searches that are answered together, in order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"searches": [{"text": "a red car", "limit": 5}, {"text": "two boats at night"}]}]
        }
    )

    searches: list[SearchBody] = Field(
        min_length=1, description="Each as for …/search; a picture by its id, and nothing that is counted."
    )


class BatchItem(Answer):
    """What became of one search: an answer, or the problem that it would have met alone."""

    answer: SearchAnswer | None
    problem: ProblemDocument | None


class BatchAnswer(Answer):
    """One item for each search, in order."""

    answers: list[BatchItem]
    failed: int = Field(description="How many of them have a problem in place of an answer.")
