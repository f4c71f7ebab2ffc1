"""The order of pairs and the schedules: pure functions of seed and step."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from sightline.errors import InputError
from sightline.training.order import Order, hardness, schedule


def epoch(order: Order, number: int) -> list[tuple[int, int]]:
    steps = range(number * order.steps_per_epoch, (number + 1) * order.steps_per_epoch)
    return [pair for step in steps for pair in order.batch(step)]


def test_an_epoch_sees_every_picture_once_and_epochs_differ() -> None:
    order = Order([1] * 12, batch_size=4, seed=7)
    first, second = epoch(order, 0), epoch(order, 1)
    assert sorted(picture for picture, _ in first) == list(range(12))
    assert sorted(first) == sorted(second)
    assert first != second


def test_captions_take_turns() -> None:
    order = Order([3, 5, 2, 1], batch_size=4, seed=0)
    said: dict[int, list[int]] = {picture: [] for picture in range(4)}
    for number in range(30):
        for picture, caption in epoch(order, number):
            said[picture].append(caption)
    for picture, captions in enumerate([3, 5, 2, 1]):
        assert sorted(said[picture]) == sorted(list(range(captions)) * (30 // captions))


def test_the_same_seed_and_step_give_the_same_batch_and_another_seed_another() -> None:
    steps = range(20)
    one, same, other = (Order([2] * 50, 8, seed) for seed in (1, 1, 2))
    assert [one.batch(step) for step in steps] == [same.batch(step) for step in steps]
    assert [one.batch(step) for step in steps] != [other.batch(step) for step in steps]


def test_ranks_share_a_step_without_overlap() -> None:
    alone, shared = Order([1] * 16, 8, 3), Order([1] * 16, 4, 3, ranks=2)
    assert alone.steps_per_epoch == shared.steps_per_epoch == 2
    assert alone.batch(1) == shared.batch(1, rank=0) + shared.batch(1, rank=1)


def test_fewer_pictures_than_a_batch_make_one_batch_and_one_picture_none() -> None:
    assert len(Order([1] * 5, batch_size=32, seed=0).batch(3)) == 5
    with pytest.raises(InputError, match="at least 2 usable pictures; 1 are left"):
        _ = Order([4], batch_size=32, seed=0).steps_per_epoch


def test_schedule_rises_then_falls_to_a_hundredth() -> None:
    rates = [schedule(step, 100, 0.1, 2.0) for step in range(100)]
    assert math.isclose(rates[0], 0.2)
    assert math.isclose(rates[9], 2.0)
    assert max(rates) == pytest.approx(2.0)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.02, rel=0.05)


def test_negatives_are_random_at_first_and_hard_after_a_quarter() -> None:
    values = [hardness(step, 1000, 0.25) for step in range(1000)]
    assert values[:251] == [0.0] * 251
    assert values[300] == pytest.approx(0.5)
    assert values[350:] == [1.0] * 650
    assert hardness(0, 1000, 0.0) == 1.0
