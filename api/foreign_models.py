"""Names of models that clients must send although they are not ours: the default stands for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sightline.api.discretion import shown_name

if TYPE_CHECKING:
    from sightline.serving.served import ServedModels

OURS: Final = re.compile(r"blip|sightline", re.IGNORECASE)
"""Whoever names one of these means a model of this house, and is told when it is not served."""


def named_model(served: ServedModels, asked: str | None) -> str | None:
    """What to score with: a served model as it is, the default as answers show it, one that is meant for us
    and will be refused, or None for the name of somebody else's model (rerank-v3.5)."""
    if asked is None or served.find(asked) is not None or OURS.search(asked):
        default = served.find(None)
        is_shown = asked is not None and default is not None and shown_name(default.model) == asked
        return default.model if is_shown and default is not None else asked
    return None


def stood_in(asked: str | None, named: str | None, model: str) -> list[str]:
    """What is told of a name that ``model`` stood in for."""
    if asked is None or named is not None:
        return []
    return [f"There is no model {asked} here: {model} scored."]
