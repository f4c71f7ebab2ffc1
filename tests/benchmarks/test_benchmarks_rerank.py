"""The rerank benchmark compares like with like: what it times against ours gives our logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.rerank import OURS, Bench, measure, pair_flops, size_of
from benchmarks.rerank_stock import stock_forward
from sightline.blip.latents import Latents
from sightline.blip.packed_linear import has_fast_bf16


def test_the_lavis_loop_computes_our_logits() -> None:
    bench = Bench(size_of(full=False))
    with torch.inference_mode():
        ours = bench.exact(bench.ids, bench.features)
        assert torch.allclose(bench.lavis(bench.stock, 6), ours, atol=1e-5)
        if bench.half is not None:
            assert torch.allclose(bench.lavis(bench.half, 6), ours, atol=0.1)
        for scorer in bench.scorers.values():
            assert torch.allclose(scorer(bench.ids, bench.features), ours, atol=0.1)


def test_the_stock_forward_computes_our_logits_of_its_own_patches() -> None:
    bench = Bench(size_of(full=False))
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        patches = bench.stock.vision_model(pixel_values=pixels).last_hidden_state
        ours = bench.exact(bench.ids, patches)
        assert torch.allclose(stock_forward(bench.stock, pixels, bench.ids), ours, atol=1e-5)


def test_the_operations_of_a_pair_are_those_that_are_run() -> None:
    size = size_of(full=False)
    bench = Bench(size)
    bench.exact(bench.ids, bench.latents)  # folds the weights, once
    counts = []
    for pairs in (2, 6):
        few = Latents(bench.latents.codes[:pairs], bench.latents.scales[:pairs], bench.latents.basis)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            bench.exact(bench.ids, few)
        counts.append(counter.get_total_flops())
    assert pair_flops(size) == pytest.approx((counts[1] - counts[0]) / 4, rel=1e-3)


def test_every_figure_is_measured(tmp_path: Path) -> None:
    section = measure(size_of(full=False), tmp_path)
    half = {"rerank_full_vs_lavis_loop_bf16"} if has_fast_bf16(torch.device("cpu")) else set()
    assert set(section.figures) == half | {
        "rerank_6_s", "rerank_gflops_share", "rerank_fp32_s", "rerank_uncompressed_s",
        "rerank_full_vs_lavis_loop", "rerank_vs_stock_forward",
    }  # fmt: skip
    assert all(value > 0 for value in section.figures.values())
    assert any(name in section.rows[0].what for name in OURS.values())
    assert [path.read_bytes()[:4] for path in section.plots] == [b"\x89PNG"]
