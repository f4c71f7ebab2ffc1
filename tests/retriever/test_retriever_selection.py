"""Masks from keys say of each image whether it may be found."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.retriever.opened import Positions, both, in_sorted, without

NONE = np.empty(0, np.int64)


def test_positions_of_keys_that_are_not_there_are_left_out() -> None:
    positions = Positions(np.array([30, 10, 20]))
    assert sorted(positions.of(np.array([5, 10, 15, 30, 99])).tolist()) == [0, 1]
    assert positions.mask(np.array([20, 21])).tolist() == [False, False, True]
    assert positions.mask(NONE).tolist() == [False, False, False]
    assert Positions(NONE).mask(np.array([1])).tolist() == []


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_to_a_mask_equal_membership(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys, among = rng.permutation(100)[:40], np.sort(rng.permutation(100)[: rng.integers(0, 60)])
    expected = [int(key) in set(among.tolist()) for key in keys]
    assert Positions(keys).mask(among).tolist() == expected
    assert in_sorted(keys, among).tolist() == expected


def test_no_mask_stands_for_everything() -> None:
    some = np.array([True, False, True])
    assert without(np.zeros(3, np.bool_)) is None
    assert without(some).tolist() == [False, True, False]  # type: ignore[union-attr]
    assert both(None, None) is None
    assert both(None, some) is some
    assert both(some, None) is some
    assert both(some, np.array([True, True, False])).tolist() == [True, False, False]  # type: ignore[union-attr]
