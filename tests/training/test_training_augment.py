"""Crops and mirror images, read off a picture whose pixels say where they are."""

from __future__ import annotations

import numpy as np
import torch

from sightline.training.augment import augment

SIDE, COUNT = 64, 200


def places() -> torch.Tensor:
    """``[B,3,S,S]``: each pixel's place across and down, from 0 to 1, and 1."""
    at = (torch.arange(SIDE) + 0.5) / SIDE
    down, across = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([across, down, torch.ones_like(down)]).expand(COUNT, -1, -1, -1).clone()


def test_a_crop_lies_in_the_picture_and_keeps_half_of_it_and_half_are_mirrored() -> None:
    seen = augment(places(), (0, 5, 7, 0))
    assert seen.shape == (COUNT, 3, SIDE, SIDE)
    torch.testing.assert_close(seen[:, 2], torch.ones(COUNT, SIDE, SIDE))
    across, down = (seen[:, axis].flatten(1) for axis in (0, 1))
    edge = (SIDE - 1) / SIDE  # between the middles of the outermost pixels
    width, height = ((one.amax(1) - one.amin(1)).numpy() / edge for one in (across, down))
    assert across.min() > 0
    assert across.max() < 1
    area, form = width * height, width / height
    assert area.min() > 0.49
    assert area.max() > 0.9
    assert np.abs(np.log(form)).max() < np.log(4 / 3) + 0.05
    mirrored = (seen[:, 0, 0, -1] < seen[:, 0, 0, 0]).float().mean()
    assert 0.4 < mirrored < 0.6
    assert (seen[:, 1, -1, 0] > seen[:, 1, 0, 0]).all(), "no picture stands on its head"


def test_the_seed_decides() -> None:
    one, same, other = (augment(places(), (0, 5, 7, rank)) for rank in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
