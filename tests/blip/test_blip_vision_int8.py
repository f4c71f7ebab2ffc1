"""The image encoder in int8: near the plain one, and taken by itself only where a comparison allows it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sightline.blip import load
from sightline.blip.arithmetics import VisionArithmetics
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.image_encoder import PREFIX
from sightline.blip.int8_linear import weight_top
from sightline.blip.model_batch import BATCHES, ModelBatch, Pace, fastest
from sightline.blip.random_weights import randomise, small_config
from sightline.blip.vision_check import PICTURES, VisionComparison, VisionVerdict
from sightline.blip.vit import VisionModel
from sightline.blip.vit_int8 import Int8Vision, load_int8_vision, taken_apart
from sightline.blip.weights import list_tensors
from sightline.errors import InputError

pytestmark = pytest.mark.skipif(weight_top() is None, reason="this processor multiplies no int8")
FEW = 24


def encoder() -> VisionModel:
    config = replace(small_config().vision_config, hidden_size=128, intermediate_size=320, image_size=56)
    model = VisionModel(config).eval()
    randomise(model, 0)
    return model.requires_grad_(False)


def pictures() -> list[np.ndarray]:
    folder = DEMO_FOLDER.parent / "demo-collection" / "images"
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())[:FEW]]


def test_patches_in_int8_lie_near_those_in_fp32() -> None:
    pixels = torch.randn(3, 3, 56, 56)
    expected = encoder()(pixels)
    model = encoder()
    found = Int8Vision(model, taken_apart(model))(pixels)
    assert not len(model.encoder.layers)  # each layer left as it was quantised
    assert (found - expected).norm() <= 0.03 * expected.norm()
    assert F.cosine_similarity(found, expected, dim=-1).min() > 0.995


def test_a_batch_gives_each_picture_what_it_gets_alone() -> None:
    model, pixels = encoder(), torch.randn(4, 3, 56, 56)
    int8 = Int8Vision(model, taken_apart(model))
    alone = torch.cat([int8(one[None]) for one in pixels])
    assert F.cosine_similarity(int8(pixels), alone, dim=-1).min() > 0.9998


def test_tokens_of_the_trained_model_stay_near_in_the_mean() -> None:
    model = load("demo", device="cpu")
    asked = load("demo", device="cpu", dtype="int8")
    assert isinstance(asked, VisionArithmetics)
    assert asked.vision_dtype == torch.int8
    pixels = model.preprocess(pictures())
    exact, found = (one.encode_image(one.encode_patches(pixels)) for one in (model, asked))
    assert (exact * found).sum(-1).mean() > 0.995
    assert torch.equal(asked.encode_patches_int8(pixels[:1]), asked.encode_patches(pixels[:1]))


def test_int8_that_was_tried_is_the_int8_that_is_taken() -> None:
    model = load("demo", device="cpu")
    assert isinstance(model, VisionArithmetics)
    pixels = model.preprocess(pictures()[:2])
    tried = model.encode_patches_int8(pixels)
    model.take_int8()
    assert model.vision_dtype == torch.int8
    assert not model.may_try_int8
    assert torch.equal(model.encode_patches(pixels), tried)


def test_a_checkpoint_is_read_layer_by_layer_as_whole() -> None:
    model = load("demo", device="cpu")
    loaded = load_int8_vision(model.config.vision_config, list_tensors(DEMO_FOLDER), PREFIX)
    whole = model.vision.model
    pixels = model.preprocess(pictures()[:2])
    expected = Int8Vision(whole, taken_apart(whole))(pixels)
    assert torch.equal(loaded(pixels), expected)


def test_a_gpu_gets_no_int8() -> None:
    from sightline.blip.precision import vision_dtype

    with pytest.raises(InputError, match="CPUs only"):
        vision_dtype("int8", torch.device("cuda"), 1408)


# --- the comparison


def drawn(count: int = PICTURES, seed: int = 0) -> Tensor:
    """Unit tokens ``[N,4,32]``."""
    made = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 4, 32, generator=made), dim=-1)


def texts() -> Tensor:
    return drawn(5, seed=1)[:, 0]


def test_the_same_tokens_hold_and_few_pictures_decide_nothing() -> None:
    comparison, tokens = VisionComparison(texts), drawn()
    assert comparison.add(tokens[:150], tokens[:150]) is None
    verdict = comparison.add(tokens[150:], tokens[150:])
    assert verdict is not None
    assert verdict.holds
    assert (verdict.pictures, verdict.tau, verdict.top10) == (PICTURES, 1.0, 1.0)


def test_one_picture_too_far_away_settles_it() -> None:
    comparison, tokens = VisionComparison(texts), drawn(8)
    moved = tokens.clone()
    moved[3] = drawn(8, seed=9)[3]
    verdict = comparison.add(tokens, moved)
    assert verdict is not None
    assert not verdict.holds


def test_near_tokens_in_another_order_do_not_hold() -> None:
    """All pictures nearly alike: a small move keeps the cosine and exchanges the ranks."""
    same = drawn(1).expand(PICTURES, -1, -1)
    noise = [0.01 * drawn(seed=seed) for seed in (2, 3)]
    verdict = VisionComparison(texts).add(*(F.normalize(same + one, dim=-1) for one in noise))
    assert verdict is not None
    assert verdict.cosine > 0.995
    assert not verdict.holds


def test_tau_and_top_ten_are_those_of_counting() -> None:
    tokens, wanted = drawn(), texts()
    moved = F.normalize(tokens + 0.05 * drawn(seed=4), dim=-1)
    verdict = VisionComparison(lambda: wanted).add(tokens, moved)
    assert verdict is not None
    exact, found = (
        [[max(float(t @ token) for token in one) for one in rows] for t in wanted] for rows in (tokens, moved)
    )
    pairs = list(itertools.combinations(range(PICTURES), 2))
    taus, tops = [], []
    for one, other in zip(exact, found, strict=True):
        kept = sum(1 if (one[i] - one[j]) * (other[i] - other[j]) > 0 else -1 for i, j in pairs)
        taus.append(kept / len(pairs))
        best, ours = ({*sorted(range(PICTURES), key=lambda n: -rows[n])[:10]} for rows in (one, other))
        tops.append(len(best & ours) / 10)
    assert verdict.tau == pytest.approx(np.mean(taus), abs=1e-3)
    assert verdict.top10 == pytest.approx(np.mean(tops))


def test_numbers_that_are_none_do_not_hold() -> None:
    tokens = drawn(8)
    verdict = VisionComparison(texts).add(tokens, tokens * float("nan"))
    assert verdict is not None
    assert not verdict.holds
    assert VisionVerdict.read({"pictures": 200, "cosine": "1", "tau": 1.0, "top10": 1.0}) is None
    assert VisionVerdict.read(vars(verdict)) == verdict


# --- the pace


def test_the_smallest_batch_that_is_about_the_quickest_is_taken() -> None:
    each = {1: 2.0, 2: 1.4, 4: 1.02, 8: 1.0, 16: 1.3}
    found = fastest(lambda batch, threads: batch * each[batch] / threads, [4, 2])
    assert found == Pace(4, 4)
    assert fastest(lambda batch, threads: 1.0 * threads, [4, 2]) == Pace(max(BATCHES), 2)


def test_what_was_set_and_what_the_memory_says_win_over_the_measurement() -> None:
    model = load("toy")
    explicit, measured = ModelBatch(3), ModelBatch()
    explicit.take(16)
    measured.take(16)
    assert (explicit.size(model), measured.size(model)) == (3, 16)
    assert measured.shrink(torch.OutOfMemoryError("out of memory"), 16)
    measured.take(16)
    assert measured.size(model) == 8
