"""Other views of the pictures that train: random crops and mirror images.

``B`` pictures · ``S`` pixels a side.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LEAST_AREA = 0.5
"""LAVIS' ``BlipImageTrainProcessor`` crops from half of a picture to all of it and mirrors every second."""
WIDEST = 4 / 3
"""Sides of a crop differ by this factor at most, as in torchvision's ``RandomResizedCrop``."""


def augment(pixels_B3SS: Tensor, seed: tuple[int, ...]) -> Tensor:
    """A crop of each picture at the size of the whole, bilinear, and every second one mirrored.

    A crop is ``LEAST_AREA`` of the picture or more; ``seed`` decides which. ``[B,3,S,S]`` to the same shape.
    """
    drawn = np.random.default_rng(seed)
    count = len(pixels_B3SS)
    area = drawn.uniform(LEAST_AREA, 1.0, count)
    form = np.exp(drawn.uniform(-math.log(WIDEST), math.log(WIDEST), count))
    width, height = (np.minimum(1.0, np.sqrt(area * ratio)) for ratio in (form, 1 / form))
    across, down = (drawn.uniform(-1.0, 1.0, count) * (1 - side) for side in (width, height))
    mirror = np.where(drawn.random(count) < 0.5, -1.0, 1.0)
    affine_B23 = np.zeros((count, 2, 3))
    affine_B23[:, 0, 0], affine_B23[:, 0, 2] = mirror * width, across
    affine_B23[:, 1, 1], affine_B23[:, 1, 2] = height, down
    matrix = torch.from_numpy(affine_B23).to(pixels_B3SS)
    grid = functional.affine_grid(matrix, list(pixels_B3SS.shape), align_corners=False)
    return functional.grid_sample(pixels_B3SS, grid, padding_mode="border", align_corners=False)
