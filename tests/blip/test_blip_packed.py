"""The packed image encoder computes what the plain modules compute, and no worse in bfloat16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from sightline.blip import load
from sightline.blip.network import Blip2Network
from sightline.blip.random_weights import full_config, randomise, small_config, write_random_checkpoint
from sightline.blip.vit import VisionModel
from sightline.blip.vit_packed import PackedVision, attention


def encoder(seed: int = 0) -> VisionModel:
    config = replace(small_config().vision_config, hidden_size=128, intermediate_size=320, image_size=56)
    model = VisionModel(config).eval()
    randomise(model, seed)
    return model.requires_grad_(False)


def test_in_fp32_the_packed_layers_equal_the_plain_ones_to_rounding() -> None:
    plain, pixels = encoder(), torch.randn(3, 3, 56, 56)
    expected = plain(pixels)
    assert (PackedVision(plain)(pixels) - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_in_bfloat16_it_is_as_close_to_fp32_as_the_plain_modules_in_bfloat16() -> None:
    exact, pixels = encoder(), torch.randn(4, 3, 56, 56)
    expected = exact(pixels)
    plain = encoder().to(torch.bfloat16)
    error_plain = (plain(pixels.bfloat16()).float() - expected).norm()
    error_packed = (PackedVision(plain)(pixels.bfloat16()).float() - expected).norm()
    assert error_packed <= 1.3 * error_plain
    assert error_packed <= 0.05 * expected.norm()


def test_a_batch_gives_each_picture_what_it_gets_alone() -> None:
    packed, pixels = PackedVision(encoder().to(torch.bfloat16)), torch.randn(5, 3, 56, 56).bfloat16()
    alone = torch.cat([packed(one[None]) for one in pixels])
    assert F.cosine_similarity(packed(pixels).float(), alone.float(), dim=-1).min() > 0.9998


def test_attention_is_that_of_torch() -> None:
    qkv = torch.randn(2, 7, 3 * 24)
    queries, keys, values = qkv.view(2, 7, 3, 4, 6).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(queries, keys, values, scale=1.0).transpose(1, 2)
    assert torch.allclose(attention(qkv, 4), expected.reshape(2, 7, 24), atol=1e-6)


def test_a_small_encoder_keeps_fp32_on_the_cpu_and_another_type_can_be_asked_for(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path)
    assert load(str(folder), device="cpu").vision_dtype == torch.float32
    asked = load(str(folder), device="cpu", dtype="bfloat16")
    assert asked.encode_patches(torch.randn(2, 3, 32, 32)).dtype == torch.bfloat16


@pytest.mark.long
def test_at_vit_g_geometry_bfloat16_leaves_the_query_tokens_where_fp32_puts_them() -> None:
    config = full_config()
    network, model = Blip2Network(config, with_vision=False).eval(), VisionModel(config.vision_config).eval()
    randomise(network, 1)
    randomise(model, 2)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    vectors = F.normalize(torch.randn(256, 256, generator=torch.Generator().manual_seed(1)), dim=1)
    with torch.inference_mode():
        exact = network.image_tokens(model(pixels))
        packed = PackedVision(model.to(torch.bfloat16))
        found = network.image_tokens(packed(pixels.bfloat16()).float())
    assert (exact * found).sum(dim=-1).min() > 0.9999
    scores = [torch.einsum("bqd,td->btq", tokens, vectors).amax(dim=-1) for tokens in (exact, found)]
    assert (scores[0] - scores[1]).abs().max() < 0.004
