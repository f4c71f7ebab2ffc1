"""From two match logits to a probability that can be believed. Imports no torch.

A model's softmax says how sure it is, not how often it is right: it is far too sure of what training never
showed it. A `Calibration` is a few numbers fitted on pairs whose truth is known, and turns the difference
``d = logit 1 − logit 0`` into a probability; the softmax itself is ``1 / (1 + exp(−d))``.

    platt     p = 1 / (1 + exp(−(d / temperature + bias)))          (Platt 1999; Guo et al. 2017)
    isotonic  p by linear interpolation between knots (d, p), constant beyond the first and the last

Where a text has words that the model does not know, ``unknown`` is added to the log-odds of all its pairs. A
probability depends on the pair alone, never on who else is there: it is the same in every search, with every
filter, and for a picture that comes later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Final, Literal

Kind = Literal["identity", "platt", "isotonic"]
_NEVER_SURE: Final = 1e-6
"""Knots at 0 and 1 have no log-odds; with something to add to they are taken for this, and 1 minus this."""
_MOST: Final = 1e4
"""No number of a calibration is larger; a logit difference of so many is 0 or 1 to any precision."""
_MOST_KNOTS: Final = 1000


@dataclass(frozen=True)
class Calibration:
    """See the module. The default is the plain softmax."""

    kind: Kind = "identity"
    temperature: float = 1.0
    bias: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    """(d, p), both rising."""
    unknown: float = 0.0
    offset: float = 0.0
    """What was found for one query: belongs to no checkpoint and no collection."""

    def for_query(self, *, unknown: bool) -> Calibration:
        """For the pairs of one text: whether it has words that the model does not know."""
        return self.shifted(self.unknown if unknown else 0.0)

    def shifted(self, offset: float) -> Calibration:
        """The same with so much added to all log-odds."""
        return replace(self, offset=offset) if offset else self

    def probability(self, difference: float) -> float:
        """Of a pair, from the difference of its logits."""
        if self.kind == "isotonic" and not self.offset:
            return _between(self.knots, difference)
        return _logistic(self.log_odds(difference))

    def log_odds(self, difference: float) -> float:
        """Of the same probability; finite, and where probabilities saturate it goes on."""
        if self.kind == "isotonic":
            kept = min(max(_between(self.knots, difference), _NEVER_SURE), 1 - _NEVER_SURE)
            return math.log(kept / (1 - kept)) + self.offset
        if self.kind == "identity":
            return difference + self.offset
        return difference / self.temperature + self.bias + self.offset

    def to_json(self) -> dict[str, Any]:
        """Its numbers, but for those of one query."""
        told = asdict(self)
        del told["offset"]
        return told | {"knots": [list(knot) for knot in self.knots]}


PLAIN: Final = Calibration()
"""The softmax as it is."""


def _logistic(odds: float) -> float:
    if odds >= 0:
        return 1 / (1 + math.exp(-odds))
    small = math.exp(max(odds, -700.0))
    return small / (1 + small)


def _between(knots: Sequence[tuple[float, float]], difference: float) -> float:
    if difference <= knots[0][0]:
        return knots[0][1]
    for (left, low), (right, high) in pairwise(knots):
        if difference <= right:
            return low + (high - low) * (difference - left) / (right - left)
    return knots[-1][1]


def parse(raw: Mapping[str, object]) -> Calibration:
    """A calibration from what `Calibration.to_json` gave. Raises ValueError: a clause on what is wrong."""
    known = {"kind", "temperature", "bias", "knots", "unknown"}
    if strange := sorted(raw.keys() - known):
        raise ValueError(f"has {strange[0]!r}, which a calibration does not have")
    kind = raw.get("kind")
    if kind not in ("identity", "platt", "isotonic"):
        raise ValueError(f"is of the kind {kind!r}; kinds are identity, platt and isotonic")
    temperature = _number(raw, "temperature", 1.0)
    if temperature <= 0:
        raise ValueError("has a temperature that is not above 0")
    knots = _knots(raw.get("knots", []))
    if (kind == "isotonic") != bool(knots):
        raise ValueError("has knots and is not isotonic" if knots else "is isotonic and has no knots")
    unknown = _number(raw, "unknown", 0.0)
    if unknown > 0:
        raise ValueError("makes texts with unknown words likelier: unknown is above 0")
    return Calibration(
        kind,
        temperature, _number(raw, "bias", 0.0), knots, unknown,
    )  # fmt: skip


def _number(raw: Mapping[str, object], name: str, default: float) -> float:
    value = raw.get(name, default)
    # NaN fails the comparison.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _MOST:
        raise ValueError(f"has no number between −{_MOST:,.0f} and {_MOST:,.0f} for {name}")
    return float(value)


def _knots(raw: object) -> tuple[tuple[float, float], ...]:
    if not isinstance(raw, list) or len(raw) > _MOST_KNOTS:
        raise ValueError(f"has no list of at most {_MOST_KNOTS} knots")
    found = []
    for one in raw:
        if not isinstance(one, (list, tuple)) or len(one) != 2:
            raise ValueError("has a knot that is no pair of numbers")
        pair = dict(zip(("knots", "p"), one, strict=True))
        found.append((_number(pair, "knots", 0.0), _number(pair, "p", 0.0)))
    if any(not 0 <= p <= 1 for _, p in found):
        raise ValueError("has a knot whose probability is not from 0 to 1")
    if any(right[0] <= left[0] or right[1] < left[1] for left, right in pairwise(found)):
        raise ValueError("has knots that do not rise")
    return tuple(found)
