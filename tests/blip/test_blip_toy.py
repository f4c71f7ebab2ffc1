"""The toy encoder gives what its module says, by numbers worked out on paper."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from sightline.blip.protocols import Encoder, Matcher
from sightline.blip.toy import ToyEncoder
from sightline.errors import InputError

RED, BLUE, PURPLE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (128, 0, 128), (255, 255, 255), (0, 0, 0)
Colour = tuple[int, int, int]


def picture(
    top_left: Colour, top_right: Colour, bottom_left: Colour, bottom_right: Colour, side: int = 8
) -> np.ndarray:
    image = np.empty((side, side, 3), np.uint8)
    half = side // 2
    image[:half, :half], image[:half, half:] = top_left, top_right
    image[half:, :half], image[half:, half:] = bottom_left, bottom_right
    return image


def patches_of(*images: np.ndarray) -> torch.Tensor:
    toy = ToyEncoder()
    return toy.encode_patches(toy.preprocess(images))


def test_it_is_an_encoder_and_a_matcher_with_the_dimensions_it_says() -> None:
    toy = ToyEncoder()
    assert isinstance(toy, Encoder)
    assert isinstance(toy, Matcher)
    patches = patches_of(picture(RED, BLUE, WHITE, BLACK), picture(RED, RED, RED, RED))
    assert patches.shape == (2, *toy.patch_shape)
    assert toy.encode_image(patches).shape == (2, toy.num_query_tokens, toy.joint_dim)
    assert toy.encode_text(["red", "blue", "a dog"]).shape == (3, toy.joint_dim)
    assert toy.match(["red"], patches).shape == (2, 2)
    assert toy.fingerprint.startswith("toy-1")
    assert len(toy.fingerprint) == 64


def test_patches_are_mean_colours_with_their_place() -> None:
    image = picture(RED, BLUE, WHITE, BLACK)
    expected = [
        [0.5, 0.25, 0.5, 0, 0, 1],
        [1, 0, 0, -1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [1, 1, 1, -1, -1, 1],
        [0, 0, 0, 1, -1, 1],
    ]
    assert patches_of(image)[0].tolist() == expected


def test_a_quadrant_is_the_mean_of_its_pixels_in_256ths() -> None:
    image = picture(BLACK, BLACK, BLACK, BLACK, side=4)
    image[0, 0] = (255, 102, 1)  # one of the four pixels of the quadrant: a mean of 63.75, 25.5, 0.25
    # ⌊63.75·256/255 + ½⌋ = 64, ⌊25.5·256/255 + ½⌋ = 26, ⌊0.25·256/255 + ½⌋ = 0
    assert patches_of(image)[0, 1, :3].tolist() == [64 / 256, 26 / 256, 0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 3), (480, 640)])
def test_pictures_of_any_size_have_patches(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (255, 0, 0), np.uint8)
    assert (patches_of(image)[0, :, :3] == torch.tensor([1.0, 0.0, 0.0])).all()


def test_patches_survive_fp16_unchanged() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 9, 11, 3), np.uint8)
    patches = patches_of(*images)
    assert torch.equal(patches.half().float(), patches)


def test_tokens_and_text_vectors_are_the_normalised_formulas() -> None:
    toy = ToyEncoder()
    token = toy.encode_image(patches_of(picture(RED, BLUE, WHITE, BLACK)))[0, 1].tolist()
    length = math.sqrt(3 + 2 / 16)  # blue, top right
    assert token == pytest.approx([value / length for value in (0, 0, 1, 1, 1, 0, 0.25, 0.25)], abs=1e-6)
    vector = toy.encode_text(["Red, LEFT!"])[0].tolist()
    length = math.sqrt(3 + 1 / 16)
    assert vector == pytest.approx([value / length for value in (1, 0, 0, 0, 1, 1, -0.25, 0)], abs=1e-6)


def test_an_unknown_word_adds_its_hash() -> None:
    digest = hashlib.sha256(b"dog").digest()
    raw = [(digest[i] - 127.5) / 2550 for i in range(8)]
    length = math.sqrt(sum(value * value for value in raw))
    vector = ToyEncoder().encode_text(["dog"])[0].tolist()
    assert vector == pytest.approx([value / length for value in raw], abs=1e-6)


def test_every_text_has_a_unit_vector_and_every_picture_unit_tokens_that_differ() -> None:
    toy = ToyEncoder()
    vectors = toy.encode_text(["", "?!", "red", "a dog in the snow", "left right", "红色", "word " * 50])
    assert torch.allclose(vectors.norm(dim=1), torch.ones(7))
    tokens = toy.encode_image(patches_of(picture(RED, RED, RED, RED)))[0]
    assert torch.allclose(tokens.norm(dim=1), torch.ones(4))
    assert len({tuple(token) for token in tokens.tolist()}) == 4


def test_words_beyond_the_sixteenth_are_cut_and_said_to_be() -> None:
    toy = ToyEncoder()
    sixteen = "red " * 16
    assert not toy.is_truncated(sixteen)
    assert toy.is_truncated(sixteen + "blue")
    assert torch.equal(toy.encode_text([sixteen])[0], toy.encode_text([sixteen + "blue"])[0])
    images = patches_of(picture(BLUE, BLUE, BLUE, BLUE), picture(RED, RED, RED, RED))
    assert torch.equal(toy.match([sixteen], images), toy.match([sixteen + "blue"], images))


def test_itc_prefers_the_mixture_and_itm_the_parts() -> None:
    toy = ToyEncoder()
    patches = patches_of(picture(PURPLE, PURPLE, PURPLE, PURPLE), picture(RED, BLUE, RED, BLUE))
    vector = toy.encode_text(["red blue"])[0]
    itc = (toy.encode_image(patches) @ vector).amax(dim=1).tolist()
    # purple is (½, 0, ½) in 256ths of 128.5 → 129/256 each; on paper with ½: 4/√(17/8)/√8 and 4/√(25/8)/√8
    assert itc == pytest.approx([4 / math.sqrt(17), 4 / 5], abs=0.01)
    logits = toy.match(["red blue"], patches).tolist()
    assert logits[0] == pytest.approx([2 / 3, 4 / 3], abs=0.03)
    assert logits[1] == pytest.approx([2 / 3, 4.0], abs=1e-6)


def test_a_place_binds_to_the_colour_before_it_in_itm_only() -> None:
    toy = ToyEncoder()
    said, swapped = picture(RED, BLUE, RED, BLUE), picture(BLUE, RED, BLUE, RED)
    patches = patches_of(said, swapped)
    text = "a red one on the left"  # "on" breaks the binding
    assert toy.match([text], patches)[:, 1].tolist() == pytest.approx([4, 4])
    assert toy.match(["red left and blue right"], patches)[:, 1].tolist() == pytest.approx([4, 8 / 3 - 4])
    assert toy.match(["white top"], patches)[:, 1].tolist() == pytest.approx([8 / 3 - 4] * 2)


def test_match_probability_is_not_monotone_in_the_match_logit() -> None:
    bright, dark = picture((255, 255, 0), WHITE, WHITE, WHITE), picture((223, 223, 0), BLACK, BLACK, BLACK)
    logits = ToyEncoder().match(["yellow"], patches_of(bright, dark))
    margin = logits[:, 1] - logits[:, 0]
    assert logits[0, 1] > logits[1, 1]
    assert margin[0] < margin[1]


def test_one_text_or_one_for_each_image() -> None:
    toy = ToyEncoder()
    patches = patches_of(picture(RED, BLUE, RED, BLUE), picture(WHITE, WHITE, WHITE, WHITE))
    each = toy.match(["red", "white"], patches)
    assert torch.equal(each[0], toy.match(["red"], patches)[0])
    assert torch.equal(each[1], toy.match(["white"], patches)[1])
    with pytest.raises(InputError, match="1 text, or 2 for the images; not 3"):
        toy.match(["red", "white", "blue"], patches)
