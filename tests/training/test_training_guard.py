"""When a run is stopped, and when it is let go on."""

from __future__ import annotations

import math

import pytest

from sightline.training.errors import TrainingDivergedError
from sightline.training.guard import DivergenceGuard


def test_a_falling_or_noisy_loss_goes_on() -> None:
    guard = DivergenceGuard()
    for step in range(500):
        guard.check(step, 8.0 / (1 + step / 50) + (step % 7) / 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_number_stops_at_once(bad: float) -> None:
    guard = DivergenceGuard()
    guard.check(0, 3.0)
    with pytest.raises(TrainingDivergedError, match="at step 1"):
        guard.check(1, bad)
    with pytest.raises(TrainingDivergedError, match="gradient norm"):
        guard.check(1, 3.0, bad)


def test_a_loss_far_above_the_start_stops() -> None:
    guard = DivergenceGuard()
    for step in range(40):
        guard.check(step, 4.0)
    for step in range(40, 43):  # (17·4 + 3·30) / 20 = 7.9, below 2·4 + 1
        guard.check(step, 30.0)
    with pytest.raises(TrainingDivergedError, match=r"rose to 9\.20 by step 43; .* had 4\.00"):
        guard.check(43, 30.0)


def test_one_spike_does_not_stop() -> None:
    guard = DivergenceGuard()
    for step in range(100):
        guard.check(step, 60.0 if step == 50 else 4.0)
