"""int8 linear layers against whole numbers in 64 bits, and pairs that are scored with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.blip import int8_linear, load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO
from sightline.blip.int8_linear import Int8Linear, quantise_rows
from sightline.blip.latents import Latents
from sightline.blip.match_precision import PairScorers
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.patch_codec import quantise
from sightline.blip.plain_sentences import PLAIN_SENTENCES
from sightline.blip.protocols import RetrievalModel
from sightline.errors import InputError
from sightline.reranker.records import PatchGroup
from sightline.upkeep.precision_trial import PairSample, Trials, at_once

TEXT = "a red ball left of a blue cube"
TOP = int8_linear.weight_top()
needs_int8 = pytest.mark.skipif(TOP is None, reason="this build of PyTorch multiplies no int8")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def codes_of(x: NDArray[np.float32], top: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The documented rounding, in NumPy: codes, and the step of each row."""
    steps = np.abs(x).max(axis=1, keepdims=True) / np.float32(top)
    return np.rint(x / steps).astype(np.int64), steps


def oracle(x: Tensor, weight: Tensor, bias: Tensor) -> NDArray[np.float32]:
    """Sums in int64, then steps and bias in float32."""
    assert TOP is not None
    rows = quantise_rows(x)
    inputs = rows.codes.numpy().astype(np.int64)
    weights, steps = codes_of(weight.numpy(), TOP)
    sums = (inputs @ weights.T).astype(np.float32)
    return sums * rows.scales.numpy() * steps.T + bias.numpy()


@needs_int8
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (3, 64, 96), (42, 768, 300), (7, 3072, 5)]
)
def test_a_layer_is_the_oracle_in_whole_numbers_bit_for_bit(rows: int, inputs: int, outputs: int) -> None:
    x, weight, bias = normal(rows, inputs), normal(outputs, inputs, seed=1), normal(outputs, seed=2)
    assert np.array_equal(Int8Linear(weight, bias)(x).numpy(), oracle(x, weight, bias))


@needs_int8
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_sum_saturates_when_all_values_are_the_largest(sign: float) -> None:
    x, weight, bias = torch.full((64, 3072), 2.5), torch.full((96, 3072), sign), torch.zeros(96)
    assert np.array_equal(Int8Linear(weight, bias)(x).numpy(), oracle(x, weight, bias))


@needs_int8
def test_rows_are_rounded_as_documented_and_zeros_stay_zeros() -> None:
    x = normal(50, 200, seed=3)
    x[7] = 0
    rows = quantise_rows(x)
    codes, steps = codes_of(x[:7].numpy(), 127)
    assert np.abs(rows.codes[:7].numpy() - codes).max() <= 1, "half a step is rounded by the reciprocal"
    assert np.abs(rows.codes[:7].numpy() * steps - x[:7].numpy()).max() <= 0.5001 * steps.max()
    assert not rows.codes[7].any()
    layer = Int8Linear(normal(4, 200), normal(4))
    assert torch.equal(layer(torch.zeros(2, 200)), normal(4).expand(2, 4))


@needs_int8
def test_a_layer_is_near_the_plain_one_in_any_shape_with_another_bias_and_an_activation() -> None:
    x, weight, bias, other = (
        normal(5, 7, 256),
        normal(96, 256, seed=1),
        normal(96, seed=2),
        normal(96, seed=3),
    )
    layer, plain = Int8Linear(weight, bias), x @ weight.T
    for found, expected in (
        (layer(x), plain + bias),
        (layer(x.bfloat16(), other), x.bfloat16().float() @ weight.T + other),
        (layer.activated(x, "gelu"), nn.functional.gelu(plain + bias)),
    ):
        assert found.shape == (5, 7, 96)
        assert float((found - expected).norm() / expected.norm()) < 0.025


@needs_int8
def test_a_row_does_not_depend_on_its_neighbours() -> None:
    layer, x = Int8Linear(normal(64, 128), normal(64)), normal(9, 128, seed=4)
    louder = x.clone()
    louder[1:] *= 100
    assert torch.equal(layer(louder)[0], layer(x)[0])


def test_int8_on_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="CPUs only"):
        Int8Linear(normal(4, 4).to("meta"), normal(4))


@pytest.fixture(scope="module")
def demo() -> Blip2:
    model = load(DEMO, device="cpu", match_dtype="auto")
    assert isinstance(model, Blip2)
    return model


@pytest.fixture(scope="module")
def patches(demo: Blip2) -> Latents:
    """Thirty random pictures of few colours, as the cache keeps them."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (30, 4, 4, 3), np.uint8)
    pictures = [np.kron(one, np.ones((32, 32, 1), np.uint8)) for one in blocks]
    return quantise(demo.encode_patches(demo.preprocess(pictures)).float(), None)


@needs_int8
def test_exact_scores_are_those_of_a_float32_scorer_to_the_last_bit(demo: Blip2, patches: Latents) -> None:
    plain = PairScorer(demo.network, torch.float32)
    expected = plain(demo.tokenizer.batch([TEXT])[0], patches)
    fast = demo.trial("int8")
    assert torch.equal(fast.match([TEXT], patches, "exact"), expected)
    assert torch.equal(demo.match([TEXT], patches), expected), "before a check"
    assert not fast.matches_exactly
    assert not torch.equal(fast.match([TEXT], patches), expected)


@needs_int8
def test_who_began_in_one_arithmetic_ends_in_it(demo: Blip2, patches: Latents) -> None:
    model = demo.known_as("another name")
    model.scorers = PairScorers(demo.network, "auto")
    search, before = model.pinned(), model.match([TEXT], patches)
    states = search.look(TEXT, patches, 2)
    model.scorers.adopt("int8")
    assert not torch.equal(model.match([TEXT], patches), before)
    assert torch.equal(search.match([TEXT], patches), before)
    ended = search.decide(search.look_on(states, patches, search.match_layers))
    assert torch.equal(ended, before)


def test_an_arithmetic_that_was_set_stays(demo: Blip2) -> None:
    scorers = PairScorers(demo.network, "float32")
    scorers.adopt("bfloat16")
    assert scorers.arithmetic == "float32"


class Given:
    """A source of patches that are there; key is row."""

    def __init__(self, patches: Latents) -> None:
        self.patches_of = patches

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        codes, scales = self.patches_of.codes[list(keys)], self.patches_of.scales[list(keys)]
        return [PatchGroup(list(range(len(keys))), replace(self.patches_of, codes=codes, scales=scales))]


def trials(model: Blip2, patches: Latents, texts: int) -> Trials:
    names = ["float32", "int8"]
    sample = PairSample(
        range(len(patches)),
        PLAIN_SENTENCES[:texts],
        np.zeros((texts, len(patches)), np.float32),
        Given(patches),
    )
    models: dict[str, RetrievalModel] = {name: model.trial(name) for name in names}
    return Trials(models, sample, at_once, lambda stage, done, total: None)


@needs_int8
def test_a_checkpoint_that_keeps_its_order_in_int8_passes(demo: Blip2, patches: Latents) -> None:
    measured = trials(demo, patches, 4)
    (found,) = measured.results(2, 16)
    assert found.passed, found
    assert measured.shape == (4, 30)
    assert 0 < found.milliseconds < float("inf")


@needs_int8
def test_a_checkpoint_with_one_loud_channel_is_refused_after_few_pairs(patches: Latents) -> None:
    """The channel says nothing, for nobody reads it, and takes all the steps there are."""
    model = load(DEMO, device="cpu", match_dtype="auto")
    assert isinstance(model, Blip2)
    with torch.no_grad():
        for layer in model.network.scored_layers():
            first, second = layer.looking_block
            first.dense.bias[0] = 3000.0
            second.dense.weight[:, 0] = 0
    measured = trials(model, patches, 4)
    (found,) = measured.results(2, 16)
    assert not found.passed
    assert measured.shape == (2, 16)
