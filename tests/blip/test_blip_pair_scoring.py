"""Scoring one text against many pictures: the stock logits and order, from patches and from latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.config import Blip2Config
from sightline.blip.cross_attention import Direct, Folded
from sightline.blip.latents import Basis, Latents
from sightline.blip.network import Blip2Network
from sightline.blip.packed_linear import PackedLinear, packs
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.random_weights import full_config, randomise, small_config, write_random_checkpoint
from sightline.errors import InputError

TEXT = "two red dogs on the beach"
PAIRS = 37


def close(ours: Tensor, wanted: Tensor) -> bool:
    """The contract's tolerance: 1e-5 × max(1, |logit|)."""
    return bool(((ours - wanted).abs() <= 1e-5 * wanted.abs().clamp(min=1.0)).all())


def random_network(config: Blip2Config) -> Blip2Network:
    network = Blip2Network(config, with_vision=False)
    randomise(network)
    return network.eval().requires_grad_(False)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def latents(pairs: int, patches: int, width: int, rank: int | None) -> Latents:
    """Random codes; ``rank`` None: of the patches themselves."""
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(-127, 128, (pairs, patches, rank or width), generator=generator, dtype=torch.int8)
    scales = (torch.rand(pairs, patches, generator=generator) / 40 + 0.01).half()
    if rank is None:
        return Latents(codes, scales, None)
    components = torch.linalg.qr(normal(width, rank, seed=4))[0].T.contiguous()
    return Latents(codes, scales, Basis(f"random-{rank}", components, normal(width, seed=5)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Blip2:
    return load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def patches(model: Blip2) -> Tensor:
    pixels = normal(PAIRS, 3, 32, 32, seed=1)
    return model.encode_patches(pixels)


def stock_logits(stock: Any, patches: Tensor, ids: Tensor) -> Tensor:
    """The stock Q-Former on given patches: what its forward does after the image encoder."""
    queries = stock.query_tokens.expand(len(patches), -1, -1)
    ids = ids.expand(len(patches), -1)
    with torch.no_grad():
        embeds = stock.embeddings(input_ids=ids, query_embeds=queries)
        mask = torch.ones(len(patches), queries.shape[1] + ids.shape[1], dtype=torch.long)
        out = stock.qformer(
            query_embeds=embeds,
            query_length=queries.shape[1],
            attention_mask=mask,
            encoder_hidden_states=patches,
            encoder_attention_mask=torch.ones(patches.shape[:2], dtype=torch.long),
        )
        return stock.itm_head(out[0][:, : queries.shape[1]]).mean(dim=1)


def test_logits_and_order_of_uncompressed_patches_are_those_of_the_stock_model(
    folder: Path, model: Blip2, patches: Tensor
) -> None:
    from transformers import Blip2ForImageTextRetrieval

    stock = Blip2ForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32).eval()
    expected = stock_logits(stock, patches, model.tokenizer.batch([TEXT])[0])
    found = model.match([TEXT], patches)
    assert close(found, expected)
    assert found[:, 1].argsort().tolist() == expected[:, 1].argsort().tolist()


@pytest.mark.parametrize("rank", [None, 1, 24, 48])
def test_latents_score_as_the_patches_that_they_stand_for(model: Blip2, rank: int | None) -> None:
    compressed = latents(PAIRS, *model.patch_shape, rank)
    ids = model.tokenizer.batch([TEXT])[0].expand(PAIRS, -1)
    expected = model.network.itm_logits(compressed.patches(), ids, None)
    assert close(model.match([TEXT], compressed), expected)


def test_every_text_scores_its_own_latents_when_there_is_a_text_for_each(model: Blip2) -> None:
    compressed = latents(3, *model.patch_shape, 24)
    texts = [TEXT, "cat", "a blue house with a tree on the left"]
    alone = [
        model.match(
            [text], Latents(compressed.codes[i : i + 1], compressed.scales[i : i + 1], compressed.basis)
        )
        for i, text in enumerate(texts)
    ]
    assert close(model.match(texts, compressed), torch.cat(alone))


def test_bases_are_told_apart_by_their_id(model: Blip2) -> None:
    one = latents(4, *model.patch_shape, 24)
    assert one.basis is not None
    for number in range(7):  # more than are kept
        basis = Basis(f"b{number}", one.basis.components * (1 + number / 10), one.basis.mean)
        other = Latents(one.codes, one.scales, basis)
        assert close(model.match([TEXT], other), model.match([TEXT], other.patches()))
    assert close(model.match([TEXT], one), model.match([TEXT], one.patches()))


@pytest.mark.parametrize("at_once", [1, 5, 36, 37, 100])
def test_pairs_do_not_depend_on_how_many_are_scored_together(
    model: Blip2, patches: Tensor, at_once: int
) -> None:
    ids = model.tokenizer.batch([TEXT])[0]
    scorer = PairScorer(model.network, torch.float32, at_once)
    assert close(scorer(ids, patches), model.match([TEXT], patches))


def test_no_pictures_give_no_logits(model: Blip2, patches: Tensor) -> None:
    assert model.match([TEXT], patches[:0]).shape == (0, 2)


def test_patches_in_half_precision_are_scored_in_float32(model: Blip2, patches: Tensor) -> None:
    assert close(model.match([TEXT], patches.half()), model.match([TEXT], patches.half().float()))


def test_attention_to_latents_equals_attention_to_keys_and_values_of_all_patches(model: Blip2) -> None:
    compressed = latents(5, *model.patch_shape, 24)
    assert compressed.basis is not None
    cross = model.network.qformer.encoder.layer[0].crossattention
    queries = normal(5, 32, 64, seed=7)
    folded, direct = Folded(cross, compressed.basis, torch.float32), Direct(cross, torch.float32)
    dense = cross.output.dense.weight.T
    with torch.inference_mode():
        ours = folded(queries, compressed.latent()) @ dense + folded.output_bias
        expected = direct(queries, compressed.patches()) @ dense + direct.output_bias
    assert torch.allclose(ours, expected, atol=1e-5)


def test_bfloat16_stays_near_float32_and_exact_means_float32(folder: Path, patches: Tensor) -> None:
    fast = load(str(folder), device="cpu", match_dtype="bfloat16")
    exact = fast.match([TEXT], patches, "exact")
    difference = (fast.match([TEXT], patches) - exact).abs()
    assert close(exact, load(str(folder), device="cpu").match([TEXT], patches))
    assert 0 < float(difference.max()) < 0.1 * float(exact.std(dim=0).min())


def test_before_a_check_the_automatic_choice_is_float32(folder: Path, patches: Tensor) -> None:
    chosen = load(str(folder), device="cpu", match_dtype="auto")
    assert chosen.matches_exactly
    assert torch.equal(chosen.match([TEXT], patches), chosen.match([TEXT], patches, "exact"))


def test_an_unknown_match_dtype_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="float16"):
        load(str(folder), device="cpu", match_dtype="float16")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_gives_what_the_plain_one_gives(dtype: torch.dtype) -> None:
    weight, bias, other = normal(96, 64, seed=1) / 8, normal(96, seed=2), normal(96, seed=3).to(dtype)
    x = normal(5, 7, 64, seed=4).to(dtype)
    packed = PackedLinear(weight, bias, dtype)
    plain = x.float() @ weight.to(dtype).float().T
    atol = 1e-5 if dtype == torch.float32 else 0.05
    for found, expected in (
        (packed(x), plain + bias),
        (packed(x, other), plain + other.float()),
        (packed.activated(x, "gelu"), torch.nn.functional.gelu(plain + bias)),
    ):
        assert found.dtype == dtype
        assert found.shape == (5, 7, 96)
        assert torch.allclose(found.float(), expected, atol=atol)


def test_only_bfloat16_weights_on_a_cpu_that_multiplies_it_are_packed() -> None:
    weight = normal(32, 32)
    assert not packs(weight)
    assert not packs(weight.to(torch.bfloat16).to("meta"))


@pytest.mark.long
@pytest.mark.parametrize("rank", [None, 240])
def test_full_q_former_geometry_scores_latents_as_their_patches(rank: int | None) -> None:
    network = random_network(full_config())
    compressed = latents(6, 257, 1408, rank)
    ids = torch.randint(5, 50, (1, 10), generator=torch.Generator().manual_seed(1))
    expected = network.itm_logits(compressed.patches(), ids.expand(6, -1), None)
    found = PairScorer(network, torch.float32)(ids, compressed)
    assert close(found, expected)
    assert found[:, 1].argsort().tolist() == expected[:, 1].argsort().tolist()


@pytest.mark.long
def test_full_q_former_geometry_equals_the_stock_q_former() -> None:
    from transformers import Blip2Config as StockConfig
    from transformers import Blip2ForImageTextRetrieval

    config = full_config()
    network = random_network(config)
    raw = config.to_json()
    raw["vision_config"]["num_hidden_layers"] = 0  # the patches are given
    stock = Blip2ForImageTextRetrieval(StockConfig(**raw)).eval()
    missing = stock.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert all(name.startswith("vision_model.") for name in missing)
    patches = normal(12, 257, 1408, seed=2)
    ids = torch.randint(5, 50, (1, 10), generator=torch.Generator().manual_seed(1))
    expected = stock_logits(stock, patches, ids)
    found = PairScorer(network, torch.float32)(ids, patches)
    assert close(found, expected)
    assert found[:, 1].argsort().tolist() == expected[:, 1].argsort().tolist()


def test_small_geometry_has_layers_with_and_without_cross_attention() -> None:
    layers = random_network(small_config()).qformer.encoder.layer
    assert [layer.crossattention is not None for layer in layers] == [True, False, True, False]
