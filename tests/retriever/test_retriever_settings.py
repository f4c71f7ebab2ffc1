"""Numbers that no index could meet are refused where they are told, not met by builds that never serve."""

from __future__ import annotations

import math

import pytest

from sightline.errors import InputError
from sightline.retriever.settings import RetrieverSettings


@pytest.mark.parametrize("target", [0.0, -0.5, 1.01, 99.0, math.nan, math.inf])
def test_a_recall_target_is_a_part_of_the_best(target: float) -> None:
    with pytest.raises(InputError, match="RECALL_TARGET must be more than 0 and at most 1"):
        RetrieverSettings(recall_target=target)


def test_a_collection_is_not_large_from_a_negative_number_on() -> None:
    with pytest.raises(InputError, match="APPROXIMATE_FROM must not be negative"):
        RetrieverSettings(approximate_from=-1)
    assert RetrieverSettings(approximate_from=0, recall_target=1.0).recall_target == 1.0
