"""Why an image matches, over HTTP."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from sightline.api.schemas.common import Answer
from sightline.searching.explaining import ExplainedImage


class HeatAnswer(Answer):
    """Where in the picture something came from.

    The cells share the whole upright picture evenly, whatever its shape: the model sees all of it, resized to
    a square.
    """

    width: int = Field(description="Cells in a row.")
    height: int = Field(description="Rows.")
    values: list[list[float]] = Field(
        description="Rows from the top, each from the left: 0 to 1, the largest 1, or all 0."
    )


class ExplainedWordAnswer(Answer):
    """One word of the text, from character ``start`` to before ``end`` (Unicode code points)."""

    word: str
    start: int
    end: int
    probability_without: float | None = Field(
        description="Match probability of the text without it; null where nothing would be left."
    )
    drop: float | None = Field(description="How much lower that is; below 0: it fits better without.")
    heat: HeatAnswer


class ExplanationAnswer(Answer):
    """Why an image matches; all of ITM in float32."""

    query_token: int = Field(description="Which of the image's tokens is nearest to the text, from 0.")
    itc: float = Field(description="Its cosine.")
    no_match_logit: float
    match_logit: float
    match_probability: float
    words: list[ExplainedWordAnswer] = Field(description="The first 12 words that the model reads.")
    heat: HeatAnswer = Field(description="Where the match of the whole text came from.")


class ExplainedImageAnswer(Answer):
    """Why one stored image matches a text, or how little."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0042.webp",
                    "text": "red car",
                    "truncated": False,
                    "degraded": [],
                    "unknown_words": [],
                    "notes": [],
                    "explanation": {
                        "query_token": 7,
                        "itc": 0.41,
                        "no_match_logit": -2.3,
                        "match_logit": 2.6,
                        "match_probability": 0.993,
                        "words": [
                            {
                                "word": "red",
                                "start": 0,
                                "end": 3,
                                "probability_without": 0.61,
                                "drop": 0.383,
                                "heat": {"width": 2, "height": 2, "values": [[0.0, 1.0], [0.1, 0.0]]},
                            }
                        ],
                        "heat": {"width": 2, "height": 2, "values": [[0.0, 1.0], [0.2, 0.0]]},
                    },
                }
            ]
        }
    )

    id: str
    text: str
    truncated: bool = Field(description="The text was longer than the model reads, and was cut.")
    degraded: list[str] = Field(description="What it had to do without; empty: nothing.")
    unknown_words: list[str] = Field(description="Words of the text that the model does not know.")
    notes: list[str] = Field(description="What is to be said of the text and of the model.")
    explanation: ExplanationAnswer


def explained_image_answer(found: ExplainedImage, text: str) -> ExplainedImageAnswer:
    """An explanation as JSON."""
    return ExplainedImageAnswer.of(found, id=found.image.image_id, text=text)
