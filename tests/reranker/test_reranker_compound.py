"""The probability of several clauses, against exact rational arithmetic, also where floats saturate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sightline.queries import Clause, Query
from sightline.reranker.compound import log_odds, log_probability

SHARES = [Fraction(1, 7), Fraction(1, 2), Fraction(9, 10), Fraction(1, 10**6), 1 - Fraction(1, 10**6)]


def odds(shares: list[Fraction]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[float(np.log(float(p)) - np.log(float(1 - p)))] for p in shares])


@pytest.mark.parametrize("shift", range(len(SHARES)))
@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1), (0.5, 0.25, 0.75, 0.5, 0.125)])
def test_the_probability_is_the_product_of_its_factors(shift: int, weights: tuple[float, ...]) -> None:
    a, b, c, d, n = [SHARES[(shift + at) % 5] for at in range(5)]
    clauses = [Clause("x", weight) for weight in weights]
    query = Query(all=tuple(clauses[:2]), any=tuple(clauses[2:4]), none=(clauses[4],))
    wa, wb, wc, wd, wn = map(Fraction, weights)
    most = max(wc, wd)
    missed = (1 - wc / most * c) * (1 - wd / most * d)
    exact = (1 - wa * (1 - a)) * (1 - wb * (1 - b)) * (1 - most * missed) * (1 - wn * n)
    found = log_probability(query, odds([a, b, c, d, n]))
    assert np.exp(found[0]) == pytest.approx(float(exact), rel=1e-9)
    assert log_odds(found)[0] == pytest.approx(float(np.log(float(exact / (1 - exact)))), rel=1e-6)


def test_where_probabilities_saturate_the_order_stays_and_every_number_is_finite() -> None:
    query = Query(all=(Clause("a"),), any=(Clause("b"), Clause("c", 0.5)), none=(Clause("d"),))
    ladder = np.array([-2000.0, -650.0, -60.0, -40.0, 0.0, 40.0, 60.0, 650.0, 2000.0])
    for row, sign in ((0, 1), (1, 1), (3, -1)):
        given = np.array([[700.0], [700.0], [-700.0], [-700.0]]).repeat(len(ladder), axis=1)
        given[row] = sign * ladder
        scores = log_odds(log_probability(query, given))
        assert np.isfinite(scores).all()
        assert (np.diff(scores) >= 0).all()
        assert (np.diff(scores[1:-1]) > 0).all(), "40 and 60 are told apart, though both are 1 in floats"
