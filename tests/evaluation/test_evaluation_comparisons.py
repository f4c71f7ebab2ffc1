"""Paired differences and what chance would give, against enumeration and a plain bootstrap."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from sightline.evaluation.comparisons import MEASURES, MRR, compare, of_chance, of_ranks
from sightline.evaluation.metrics import bootstrap_interval


@pytest.mark.parametrize(("k", "right"), [(1, 1), (4, 1), (5, 2), (6, 3), (7, 1), (3, 3)])
def test_chance_is_the_mean_over_all_orders_of_the_candidates(k: int, right: int) -> None:
    ranks = np.array([min(order[:right]) for order in permutations(range(k))])
    expected = {name: values.mean() for name, values in of_ranks(ranks).items()}
    found = of_chance(np.array([right]), k, np.array([99]))
    assert {name: found[name][0] for name in MEASURES} == pytest.approx(expected)


def test_a_query_without_its_answer_among_the_candidates_keeps_its_rank_by_chance_too() -> None:
    found = of_chance(np.array([0, 1]), 2, np.array([3, 3]))
    assert found[MRR].tolist() == [0.25, 0.75]
    assert found["R@1"].tolist() == [0.0, 0.5]
    assert found["R@5"].tolist() == [1.0, 1.0]


def test_a_difference_is_paired_and_pictures_are_drawn_with_all_their_captions() -> None:
    drawn = np.random.default_rng(3)
    groups = np.repeat(np.arange(80), 5)
    hard = np.repeat(drawn.integers(0, 30, 80), 5)  # all captions of a picture are as hard
    theirs = hard + drawn.integers(0, 3, 400)
    ours = np.maximum(0, theirs - (drawn.random(400) < 0.3))
    found = compare("text_to_image", "itm+itc", "itc", 16, of_ranks(ours), of_ranks(theirs), groups)
    for name in MEASURES:
        paired = of_ranks(ours)[name] - of_ranks(theirs)[name]
        difference = found.differences[name]
        assert difference.mean == pytest.approx(paired.mean())
        rows = [np.flatnonzero(groups == group) for group in range(80)]
        means = [
            paired[np.concatenate([rows[group] for group in drawn.integers(0, 80, 80)])].mean()
            for _ in range(1000)
        ]
        low, high = np.quantile(means, [0.025, 0.975])
        width = high - low
        assert difference.low == pytest.approx(low, abs=0.15 * width + 1e-12)
        assert difference.high == pytest.approx(high, abs=0.15 * width + 1e-12)
    alone = bootstrap_interval(of_ranks(ours)[MRR], groups)
    paired_width = found.differences[MRR].high - found.differences[MRR].low
    assert paired_width < 0.5 * (alone[1] - alone[0]), "what makes a picture hard for both drops out"
    assert not found.differences[MRR].low <= 0 <= found.differences[MRR].high


def test_equal_orders_differ_by_nothing_for_certain() -> None:
    ranks = np.array([0, 3, 7, 30])
    found = compare("image_to_text", "itc", "before", None, of_ranks(ranks), of_ranks(ranks), np.arange(4))
    assert {(one.mean, one.low, one.high) for one in found.differences.values()} == {(0.0, 0.0, 0.0)}
