"""``--explain``: why hits are hits, in a few lines each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.explanations import ExplainedWord, Explanation, Heat
    from sightline.records import SearchHit


def print_reasons(hits: Sequence[SearchHit]) -> None:
    """For each explained hit a line, and one for each word: what it contributed and where it was seen."""
    from rich.text import Text

    from sightline.console import answers

    for hit in hits:
        if hit.explanation is not None:
            for line in lines_of(hit.id, hit.explanation):
                answers().print(Text(line), soft_wrap=True)


def lines_of(image_id: str, why: Explanation) -> list[str]:
    """The lines of one hit."""
    head = (
        f"{image_id}: match {why.match_probability:.3f} (logits {why.no_match_logit:+.2f} and "
        f"{why.match_logit:+.2f}), ITC {why.itc:.3f} by token {why.query_token}, seen {place_of(why.heat)}"
    )
    widest = max((len(one.word) for one in why.words), default=0)
    return [head, *(_line(one, widest) for one in why.words)]


def _line(one: ExplainedWord, width: int) -> str:
    if one.probability_without is None or one.drop is None:
        said = "nothing is left without it"
    else:
        changed = round(-one.drop, 3) + 0.0  # no "-0.000"
        said = f"{one.probability_without:.3f} without it ({changed:+.3f})"
    return f"    {one.word:<{width}}  {said}, seen {place_of(one.heat)}"


def place_of(heat: Heat) -> str:
    """Where the hottest cell is, in words: one of nine places."""
    value, row, column = max(
        (value, -row, -column) for row, cells in enumerate(heat.values) for column, value in enumerate(cells)
    )
    if value <= 0:
        return "nowhere"
    down = _third((0.5 - row) / heat.height, ("top", "", "bottom"))
    across = _third((0.5 - column) / heat.width, ("left", "", "right"))
    return " ".join(part for part in ("at the", down, across) if part) if down or across else "in the middle"


def _third(share: float, names: tuple[str, str, str]) -> str:
    return names[min(int(share * 3), 2)]
