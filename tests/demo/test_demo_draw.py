"""Pictures of the world: deterministic, the right colour in the right place, and patch labels that agree."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from demo.world.draw import draw, patch_labels
from demo.world.sample import random_scene
from demo.world.scene import Scene, Thing
from demo.world.things import COLOURS, KINDS, PALETTE, SETTINGS, SIZES


def _scene(*things: Thing, setting: str = "plain") -> Scene:
    return Scene(setting, things, 3)


def test_a_scene_always_gives_the_same_pixels() -> None:
    scene = random_scene(Random(1))
    assert np.array_equal(draw(scene, 64), draw(scene, 64))
    assert draw(scene, 64).shape == (64, 64, 3)
    assert draw(scene, 64).dtype == np.uint8


def test_a_large_picture_averages_to_the_small_one() -> None:
    scene = random_scene(Random(8))
    large = draw(scene, 384).reshape(128, 3, 128, 3, 3).mean(axis=(1, 3))
    assert np.abs(large - draw(scene, 128)).mean() < 2.0


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_colour_stands_out_from_every_background(setting: str) -> None:
    empty = draw(Scene(setting, (), 3), 64).reshape(-1, 3).astype(float)
    for colour in COLOURS:
        distance = np.linalg.norm(empty - np.asarray(PALETTE[colour], float), axis=1)
        assert np.percentile(distance, 2) > 60, colour


@pytest.mark.parametrize("kind", KINDS)
def test_the_main_colour_is_the_most_frequent_of_the_thing(kind: str) -> None:
    """Of the pixels that the thing changed, more are nearest to its own colour than to another."""
    palette = np.asarray(list(PALETTE.values()), float)
    empty = draw(_scene(), 96).astype(float)
    for colour in COLOURS:
        picture = draw(_scene(Thing(kind, colour, "big", 0.5, 0.5)), 96).astype(float)
        changed = picture[np.abs(picture - empty).sum(axis=2) > 40]
        nearest = np.linalg.norm(changed[:, None] - palette, axis=2)
        near = nearest.min(axis=1) < 60
        votes = np.bincount(nearest[near].argmin(axis=1), minlength=len(COLOURS))
        assert COLOURS[int(votes.argmax())] == colour


def test_no_two_kinds_look_alike_when_small() -> None:
    shots = [draw(_scene(Thing(kind, "blue", "small", 0.5, 0.5)), 128).astype(float) for kind in KINDS]
    for i, a in enumerate(shots):
        for b in shots[:i]:
            assert np.abs(a - b)[50:78, 50:78].mean() > 8


def test_patch_labels_name_the_thing_under_each_cell() -> None:
    scene = _scene(Thing("heart", "red", "big", 0.3, 0.3), Thing("star", "blue", "small", 0.75, 0.75))
    labels = patch_labels(scene, 16)
    assert {name: array.shape for name, array in labels.items()} == dict.fromkeys(labels, (16, 16))
    assert labels["kind"][4, 4] == KINDS.index("heart") + 1
    assert labels["colour"][12, 12] == COLOURS.index("blue") + 1
    assert labels["size"][12, 12] == SIZES.index("small") + 1
    assert (labels["thing"][4, 4], labels["thing"][12, 12], labels["thing"][0, 15]) == (0, 1, -1)
    assert labels["kind"][0, 15] == labels["colour"][0, 15] == labels["size"][0, 15] == 0


def test_patch_labels_point_to_the_centre_of_their_thing() -> None:
    scene = random_scene(Random(6))
    labels = patch_labels(scene, 12)
    for row, column in np.argwhere(labels["thing"] >= 0):
        thing = scene.things[int(labels["thing"][row, column])]
        assert (column + 0.5) / 12 + labels["dx"][row, column] == pytest.approx(thing.x, abs=1e-5)
        assert (row + 0.5) / 12 + labels["dy"][row, column] == pytest.approx(thing.y, abs=1e-5)


def test_every_thing_has_labelled_patches() -> None:
    rng = Random(9)
    for _ in range(100):
        scene = random_scene(rng)
        assert set(range(len(scene.things))) <= set(patch_labels(scene, 16)["thing"].ravel().tolist())
