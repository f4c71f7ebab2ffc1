"""The benchmark of BLIP compares like with like."""

from __future__ import annotations

import torch

from benchmarks.blip import Pairs, measure, size_of


def test_the_loop_and_the_stock_forward_compute_our_logits() -> None:
    bench = Pairs(size_of(full=False))
    with torch.inference_mode():
        assert bench.agreement() < 1e-5
        patches = bench.stock.vision_model(pixel_values=bench.pixels).last_hidden_state
        assert torch.allclose(bench.forward(), bench.exact(bench.ids, patches), atol=1e-5)


def test_every_figure_is_measured_and_captions_are_the_same() -> None:
    section = measure(size_of(full=False))
    assert all(value > 0 for value in section.figures.values())
    assert {
        "blip_vs_stock",
        "blip_rerank_latent_vs_forward",
        "blip_pair_gflop",
        "blip_captions_beam_vs_stock",
    } <= set(section.figures)
    assert section.figures["blip_pair_gflop"] < section.figures["blip_loop_pair_gflop"]
    assert [note for note in section.notes if "token for token" in note and "yes" not in note] == []
