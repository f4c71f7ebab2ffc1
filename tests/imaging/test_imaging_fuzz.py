"""Mutated pictures become pictures or documented rejections, and cost what pictures may."""

from __future__ import annotations

import pytest

from tests.imaging.fuzz import Fuzz, fuzz
from tests.imaging.mutations import mutated
from tests.imaging.odd_files import encoded, quarters
from tests.imaging.seeds import documented_codes, seeds


def test_mutated_pictures_are_decoded_or_rejected_by_a_documented_code() -> None:
    tally = fuzz(seeds(), documented_codes(), mutations=250, seed=9)
    assert not tally.broken
    assert tally.outcomes.total() == 250
    assert tally.outcomes["decoded"] > 20
    assert len(tally.outcomes) > 3, "mutations do many kinds of harm"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_mutated_pictures() -> None:
    tally = fuzz(seeds(), documented_codes(), mutations=10_000, seed=1, jobs=2)
    assert not tally.broken


def test_the_same_number_is_the_same_mutation() -> None:
    pictures = [encoded(quarters(), "PNG"), encoded(quarters(), "JPEG")]
    assert [mutated(pictures, number, 3) for number in range(50)] == [
        mutated(pictures, number, 3) for number in range(50)
    ]
    assert len({mutated(pictures, number, 3) for number in range(50)}) > 40


def test_a_rejection_without_a_documented_code_is_told() -> None:
    one = Fuzz(frozenset({"empty"}))
    one.feed("good", encoded(quarters(), "PNG"))
    one.feed("none", b"no picture")
    one.close()
    assert one.tally.outcomes == {"decoded": 1, "not_an_image": 1}
    [broken] = one.tally.broken
    assert "not_an_image" in broken
