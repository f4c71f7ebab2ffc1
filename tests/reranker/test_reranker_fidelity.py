"""Fidelity of an order against definitions spelled out pair by pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from sightline.errors import InputError
from sightline.reranker.fidelity import FidelityMeter, kendall_tau, top_overlap


def brute_tau(exact: np.ndarray, found: np.ndarray) -> float:
    agree = ties_exact = ties_found = 0
    pairs = list(combinations(range(len(exact)), 2))
    for i, j in pairs:
        one, other = np.sign(exact[i] - exact[j]), np.sign(found[i] - found[j])
        agree += one * other
        ties_exact += one == 0
        ties_found += other == 0
    return float(agree / np.sqrt((len(pairs) - ties_exact) * (len(pairs) - ties_found)))


@pytest.mark.parametrize("seed", range(20))
def test_tau_is_that_of_counting_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = rng.integers(0, 8, 15).astype(float)
    found = exact + rng.integers(-2, 3, 15)
    assert kendall_tau(exact, found) == pytest.approx(brute_tau(exact, found))


def test_tau_of_equal_reversed_and_flat_orders() -> None:
    exact = np.arange(10.0)
    assert kendall_tau(exact, exact * 3 + 1) == pytest.approx(1.0)
    assert kendall_tau(exact, -exact) == pytest.approx(-1.0)
    assert kendall_tau(exact, np.zeros(10)) == 0.0
    assert kendall_tau(np.zeros(10), np.zeros(10)) == 1.0


def test_overlap_counts_what_both_have_among_the_best() -> None:
    exact = np.array([9.0, 8, 7, 6, 5, 4])
    found = np.array([9.0, 1, 7, 8, 2, 3])  # best three: 0, 3, 2
    assert top_overlap(exact, found, 3) == pytest.approx(2 / 3)
    assert top_overlap(exact, found) == 1.0, "fewer than ten: all of them"


def test_the_meter_takes_means_over_queries() -> None:
    meter = FidelityMeter()
    exact = np.arange(12.0)
    meter.add(exact, exact, exact, exact + 0.5)
    meter.add(exact, -exact, exact, exact - 1.5)
    found = meter.result()
    assert (found.tau, found.queries) == (pytest.approx(0.0), 2)
    assert found.top10 == pytest.approx((1.0 + 0.8) / 2)
    assert found.logit_error == pytest.approx(1.0)


def test_without_queries_there_is_no_fidelity() -> None:
    with pytest.raises(InputError, match="no queries"):
        FidelityMeter().result()
