"""What is kept of filters is of the version that was asked for, and bounded."""

from __future__ import annotations

import numpy as np

from sightline.retriever.filtered_keys import FilterCache
from sightline.retriever.positions import Positions
from sightline.store.conditions import Filter
from sightline.store.filtered import Filtered
from sightline.store.filters import parse_filter

FILTERS = [parse_filter({"field": "year", "equals": year}) for year in range(5)]


class _Changing:
    """A catalog whose every version has one image more, which every filter fits; it counts questions."""

    def __init__(self) -> None:
        self.version, self.asked = 10, list[int | None]()

    def filtered(self, collection_id: int, filter: Filter, since: int | None = None) -> Filtered:
        self.asked.append(since)
        first = 0 if since is None else since
        keys = np.arange(first, self.version, dtype=np.int64)
        return Filtered(self.version, since is None, keys, np.empty(0, np.int64))


def test_a_version_is_asked_for_once_and_the_next_one_for_what_changed() -> None:
    catalog = _Changing()
    cache = FilterCache(catalog)
    for _ in range(3):
        assert cache.get(1, FILTERS[0], 10).keys.tolist() == list(range(10))
    catalog.version = 12
    found = cache.get(1, FILTERS[0], 12)
    assert (found.version, found.keys.tolist()) == (12, list(range(12)))
    cache.get(2, FILTERS[0], 12)
    cache.get(1, FILTERS[1], 12)
    assert catalog.asked == [None, 10, None, None]


def test_a_catalog_that_is_further_than_the_question_says_its_own_version() -> None:
    catalog = _Changing()
    cache = FilterCache(catalog)
    catalog.version = 15
    assert cache.get(1, FILTERS[0], 11).version == 15
    assert cache.get(1, FILTERS[0], 11).version == 15  # an older snapshot asks again


def test_a_mask_is_made_once_for_an_index_and_stays_while_nothing_changes() -> None:
    catalog = _Changing()
    cache = FilterCache(catalog)
    positions, others = Positions(np.array([3, 99, 1])), Positions(np.array([7]))
    found = cache.get(1, FILTERS[0], 10)
    first = found.mask(positions)
    assert first.tolist() == [True, False, True]
    assert cache.get(1, FILTERS[0], 10).mask(positions) is first
    same = found.after(Filtered(11, False, np.array([4]), np.array([50])))
    assert same.version == 11
    assert same.mask(positions) is first
    less = same.after(Filtered(12, False, np.empty(0, np.int64), np.array([3])))
    assert less.mask(positions).tolist() == [False, False, True]
    assert found.mask(others).tolist() == [True]


def test_what_was_not_asked_for_longest_goes_when_there_is_no_room() -> None:
    catalog = _Changing()
    size = FilterCache(catalog).get(1, FILTERS[0], 10).nbytes
    cache = FilterCache(catalog, max_bytes=3 * size)
    for filter in FILTERS[:3]:
        cache.get(1, filter, 10)
    cache.get(1, FILTERS[0], 10)
    cache.get(1, FILTERS[3], 10)
    assert cache.nbytes <= 3 * size
    catalog.asked.clear()
    for filter in (FILTERS[0], FILTERS[2], FILTERS[3]):
        cache.get(1, filter, 10)
    assert catalog.asked == []
    cache.get(1, FILTERS[1], 10)
    assert catalog.asked == [None]
