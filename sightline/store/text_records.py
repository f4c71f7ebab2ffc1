"""What the catalog takes and gives of texts: frozen records, free of SQLAlchemy. See `records`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TextSource = str
"""``given``: the image's caption. ``metadata.<field>``: a text of its metadata. ``captioner``: a model's."""
Verdict = Literal["unjudged", "kept", "dropped"]
"""``dropped``: it does not bring its image into searches, and no export has it."""

GIVEN: Final = "given"
CAPTIONER: Final = "captioner"
FIELD: Final = "metadata."
"""What the source of a text of the metadata begins with; the field's name follows."""
VERDICTS: Final[tuple[Verdict, ...]] = ("unjudged", "kept", "dropped")


@dataclass(frozen=True)
class NewText:
    """A text that a job found, or judged.

    ``model``: the captioner's fingerprint, ``log_probability`` what it gave the text (natural logarithm).
    ``match_probability``: what the ``judge`` (its fingerprint) says, raw, 0 to 1.
    """

    key: int
    source: TextSource
    text: str
    model: str | None = None
    log_probability: float | None = None
    match_probability: float | None = None
    judge: str | None = None
    verdict: Verdict = "unjudged"


@dataclass(frozen=True)
class StoredText:
    """A text of an image; ``id`` is never given twice. ``overruled``: a person set the verdict.

    ``uri`` and ``image_id`` are those of the image with this ``key``.
    """

    id: int
    key: int
    image_id: str
    uri: str
    source: TextSource
    model: str | None
    text: str
    log_probability: float | None
    match_probability: float | None
    judge: str | None
    verdict: Verdict
    overruled: bool
    job_id: str | None
    created_at: float


@dataclass(frozen=True)
class TextPage:
    """One page of texts; ``total``: how many there are in all. ``next_cursor``: None on the last."""

    items: list[StoredText]
    next_cursor: str | None
    total: int


@dataclass(frozen=True)
class TextCount:
    """How many texts of one source have one verdict."""

    source: TextSource
    verdict: Verdict
    overruled: bool
    texts: int


@dataclass(frozen=True)
class TextProbability:
    """The judge's raw probability (0 to 1) of one text."""

    source: TextSource
    verdict: Verdict
    match_probability: float


@dataclass(frozen=True)
class TextHit:
    """An image that words of its texts brought, by the best of them: ``rank_score`` is the higher the rarer
    the words are that it shares with the query."""

    key: int
    rank_score: float
    text: str
    text_id: int


@dataclass(frozen=True)
class FeatureSet:
    """What one model made of a collection's images. ``serving``: searches use this one."""

    id: int
    collection_id: int
    model: str
    revision: str | None
    fingerprint: str
    num_query_tokens: int
    joint_dim: int
    serving: bool
    created_at: float


@dataclass(frozen=True)
class SamplingState:
    """``images`` and ``texts`` of a collection as `sampling_state` counts them at the time ``now``."""

    images: int
    texts: int
    now: float
