"""Sets of keys, and what is known of a filter at one version of a collection."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sightline.types import Keys, Mask


def none() -> Keys:
    """No key."""
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class KeySet:
    """Sorted keys, each once; ``all_but``: all others than these. ``~``, ``&`` and ``|`` as with sets."""

    keys: Keys = field(default_factory=none)
    all_but: bool = False

    def __invert__(self) -> KeySet:
        return KeySet(self.keys, not self.all_but)

    def __and__(self, other: KeySet) -> KeySet:
        if self.all_but and other.all_but:
            return KeySet(_union(self.keys, other.keys), all_but=True)
        if self.all_but:
            return other & self
        few, many = self.keys, other.keys
        if not other.all_but and len(few) > len(many):
            few, many = many, few
        return KeySet(few[in_sorted(few, many) != other.all_but])

    def __or__(self, other: KeySet) -> KeySet:
        return ~(~self & ~other)


@dataclass(frozen=True)
class Filtered:
    """What a filter fits at ``version``: all such keys (``whole``), or what changed since an earlier one.

    ``fitting`` and ``others`` are sorted: those that fit (now), and those that do not (any more).
    """

    version: int
    whole: bool
    fitting: Keys
    others: Keys

    def after(self, earlier: Keys) -> Keys:
        """All fitting keys, given those of before."""
        if self.whole:
            return self.fitting
        return ((KeySet(earlier) & ~KeySet(self.others)) | KeySet(self.fitting)).keys


def in_sorted(keys: Keys, among: Keys) -> Mask:
    """``[N]``: which of ``keys`` are in ``among``, which is sorted."""
    if len(among) == 0:
        return np.zeros(len(keys), np.bool_)
    found: Mask = among[np.minimum(np.searchsorted(among, keys), len(among) - 1)] == keys
    return found


def _union(left: Keys, right: Keys) -> Keys:
    if len(left) == 0 or len(right) == 0:
        return right if len(left) == 0 else left
    few, many = (left, right) if len(left) < len(right) else (right, left)
    new = few[~in_sorted(few, many)]
    return np.insert(many, np.searchsorted(many, new), new) if len(new) else many
