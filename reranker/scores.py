"""Pure functions from logits and cosines to scores and an order (docs/scoring.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from sightline.errors import InputError, UnavailableError
from sightline.records import Precision, ScoreName

if TYPE_CHECKING:
    from torch import Tensor


def checked_text(text: object) -> str:
    """The text itself; `InputError` unless it is a string with something in it."""
    if not isinstance(text, str):
        raise InputError(f"The text must be a string, not {type(text).__name__}.")
    if not text.strip():
        raise InputError("The text is empty.")
    return text


def checked_score(score: str) -> ScoreName:
    """The name itself; `InputError` unless it is one of the three."""
    for name in get_args(ScoreName):
        if score == name:
            return name  # type: ignore[no-any-return]
    raise InputError(f"There is no score named {score!r}; choose itm+itc, itm or itc.")


def checked_precision(precision: str) -> Precision:
    """The name itself; `InputError` unless it is one of the two."""
    for name in get_args(Precision):
        if precision == name:
            return name  # type: ignore[no-any-return]
    raise InputError(f"There is no precision named {precision!r}; choose fast or exact.")


def ranking_score(score: ScoreName, itm_logit: float, itc: float) -> float:
    """Averaged match logit + ITC cosine is what LAVIS evaluates with; either alone on request."""
    if score == "itc":
        return itc
    return itm_logit + itc if score == "itm+itc" else itm_logit


def match_scores(logits: Tensor) -> list[tuple[float, float]]:
    """(match logit, match probability) of each pair, from logits ``[K,2]`` averaged over the query tokens.

    The probability is the softmax over the two, taken once. `UnavailableError` when a logit is not finite,
    because an order made from it would mean nothing.
    """
    wide = logits.double()
    if not bool(wide.isfinite().all()):
        raise UnavailableError("The model gave a match logit that is no number: load it in float32.")
    probabilities = wide.softmax(dim=1)[:, 1]
    return list(zip(wide[:, 1].tolist(), probabilities.tolist(), strict=True))
