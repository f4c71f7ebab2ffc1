"""Scoring candidates by ITM: ours from the latent cache, the LAVIS loop, and stock transformers' forward.

``python -m benchmarks.rerank [--device cuda] [--candidates 1000] [--rounds 3] [--without-stock-forward]``.
Weights are random, since speed does not depend on the numbers; the geometry is that of
Salesforce/blip2-itm-vit-g at 224 px.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import Budget, Row, Section, Timing, alternate
from benchmarks.rerank_plot import draw
from benchmarks.rerank_stock import lavis_loop, stock_forward, stock_model
from sightline.blip import int8_linear
from sightline.blip.config import Blip2Config
from sightline.blip.latents import Basis, Latents
from sightline.blip.network import Blip2Network
from sightline.blip.packed_linear import has_fast_bf16
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.random_weights import full_config, randomise, small_config

LAVIS_LENGTH = 35
OURS = {torch.int8: "latent, int8", torch.bfloat16: "latent, bf16", torch.float32: "latent, fp32"}
EXACT, PLAIN = OURS[torch.float32], "uncompressed fp16 patches, fastest arithmetic"
LAVIS, LAVIS_HALF, STOCK = "LAVIS loop, fp32", "LAVIS loop, bf16", "stock forward, fp32"
PRODUCT = "matrix product"
_ROUNDS_SHARE = 0.75
"""Of the time that is left after warming up: the stock forward and the smaller counts take the rest."""


@dataclass(frozen=True)
class Size:
    """What is measured."""

    config: Blip2Config
    candidates: int
    rank: int
    text: int = 10
    rounds: int = 3
    product: int = 4096
    stock_images: int = 4
    """Images of one stock forward; 0 leaves it out."""
    device: str = "cpu"


def size_of(full: bool) -> Size:
    """The goal's geometry, or one that a test runs in seconds."""
    if full:
        return Size(full_config(), candidates=100, rank=240)
    return Size(small_config(), candidates=6, rank=24, rounds=1, product=64, stock_images=2)


def run(full: bool) -> Section:
    """All figures of reranking on the CPU."""
    return measure(size_of(full), Path("build"))


@torch.inference_mode()
def measure(size: Size, folder: Path) -> Section:
    """Time everything in turns; the plot goes into ``folder``."""
    section = Section(f"Rerank: {size.candidates} candidates, a text of {size.text} tokens, {size.device}")
    bench = Bench(size)
    alternate(bench.programs(min(4, size.candidates)), 1, warmup=0)  # enough to warm up, and cheap
    bench.fastest = _fastest(alternate(bench.scored(size.candidates), 1, warmup=0))
    most = Budget.given().part(_ROUNDS_SHARE)
    found = alternate(bench.programs(size.candidates), size.rounds, warmup=0, budget=most)
    stock = alternate(bench.stock_programs(), min(2, size.rounds), warmup=0)
    _figures(section, size, found, stock)
    section.notes.append(bench.agreement())
    section.notes += bench.left_out()
    peak = 2e-9 * size.product**3 / found[PRODUCT].median
    section.notes.append(
        f"Peak: {size.product}³ product in {str(bench.peak).removeprefix('torch.')}, {peak:.0f} GFLOP/s; "
        f"ours needs {pair_flops(size) / 1e9:.1f} GFLOP a pair."
    )
    if STOCK in stock:
        section.notes.append(
            f"The stock forward was measured on {size.stock_images} images at a time and scaled to "
            f"{size.candidates}."
        )
    counts = sorted({max(1, size.candidates // part) for part in (20, 5, 2)})
    timed = {count: alternate(bench.programs(count), 1, warmup=0) for count in counts}
    timed[size.candidates] = found
    lines = [name for name in (*OURS.values(), LAVIS_HALF, LAVIS) if name in found]
    each = stock[STOCK].median / size.stock_images if STOCK in stock else None
    path = folder / f"rerank-{size.device.replace(':', '')}.png"
    section.plots.append(draw(timed, lines, each, path))
    return section


class Bench:
    """The weights, once for ours and once for stock, and one set of candidates in every form."""

    def __init__(self, size: Size) -> None:
        self.size = size
        device = torch.device(size.device)
        self.network = Blip2Network(size.config, with_vision=False)
        randomise(self.network)
        self.network.eval().requires_grad_(False)
        self.stock = stock_model(size.config, self.network, with_vision=size.stock_images > 0).to(device)
        self.network.to(device)
        self.has_bf16 = has_fast_bf16(device)
        self.peak = torch.bfloat16 if self.has_bf16 else torch.float32
        self.scorers = {dtype: PairScorer(self.network, dtype) for dtype in arithmetics(device)}
        self.exact = self.scorers[torch.float32]
        self.fastest = next(iter(self.scorers))
        self.half = _without_vision(self.stock).to(torch.bfloat16) if self.has_bf16 else None
        self.latents = random_latents(size).to(device)
        generator = torch.Generator().manual_seed(1)
        shape = (
            size.candidates,
            size.config.vision_config.num_patches,
            size.config.vision_config.hidden_size,
        )
        self.features = torch.randn(shape, generator=generator)  # on the host, as LAVIS keeps them
        self.stored = self.features.half()
        self.ids = torch.randint(5, 50, (1, size.text), generator=generator).to(device)

    def scored(self, count: int) -> dict[str, Callable[[], Any]]:
        """Ours from latents, in every arithmetic that is fast here, and in float32."""
        latents = Latents(self.latents.codes[:count], self.latents.scales[:count], self.latents.basis)
        return {
            OURS[dtype]: self._waited(partial(scorer, self.ids, latents))
            for dtype, scorer in self.scorers.items()
        }

    def programs(self, count: int) -> dict[str, Callable[[], Any]]:
        """What is timed for ``count`` candidates."""
        side = self.size.product
        square = torch.randn(side, side, device=self.ids.device).to(self.peak)
        found = {
            PRODUCT: self._waited(lambda: square @ square),
            **self.scored(count),
            PLAIN: self._waited(self._uncompressed(count)),
            LAVIS: self._waited(lambda: self.lavis(self.stock, count)),
        }
        if self.half is not None:
            found[LAVIS_HALF] = self._waited(lambda: self.lavis(self.half, count))
        return found

    def left_out(self) -> list[str]:
        """What this machine cannot measure, in sentences."""
        if self.has_bf16:
            return []
        return [
            "This machine multiplies no bf16 in hardware: what computes in it was left out; it takes minutes."
        ]

    def _uncompressed(self, count: int) -> Callable[[], Any]:
        scorer = self.scorers[self.fastest]
        return lambda: scorer(self.ids, self.stored[:count].to(self.ids.device))

    def stock_programs(self) -> dict[str, Callable[[], Any]]:
        """The stock forward, on few images."""
        images = self.size.stock_images
        if not images:
            return {}
        side = self.size.config.vision_config.image_size
        pixels = torch.randn(images, 3, side, side, device=self.ids.device)
        return {STOCK: self._waited(lambda: stock_forward(self.stock, pixels, self.ids))}

    def lavis(self, model: Any, count: int) -> Tensor:
        """Logits ``[K,2]`` of the LAVIS loop."""
        return lavis_loop(model, self.features[:count], self.ids, LAVIS_LENGTH)

    def agreement(self) -> str:
        """One sentence on whether all compute the same."""
        few = slice(0, min(8, self.size.candidates))
        lavis = self.lavis(self.stock, few.stop)
        ours = self.exact(self.ids, self.features[few].to(self.ids.device))
        compressed = Latents(self.latents.codes[few], self.latents.scales[few], self.latents.basis)
        fast, slow = self.scorers[self.fastest](self.ids, compressed), self.exact(self.ids, compressed)
        return (
            f"Largest difference of a logit over {few.stop} pairs: uncompressed fp32 to the LAVIS loop "
            f"{float((ours - lavis).abs().max()):.1e}, {OURS[self.fastest]} to fp32 "
            f"{float((fast - slow).abs().max()):.1e} "
            f"(standard deviation {float(slow.std(dim=0).min()):.1e}; random weights)."
        )

    def _waited(self, program: Callable[[], Any]) -> Callable[[], Any]:
        if self.size.device == "cpu":
            return program

        def waited() -> None:
            program()
            torch.cuda.synchronize()

        return waited


def random_latents(size: Size) -> Latents:
    """Codes as a fitted codec would leave them; their values change no time."""
    generator = torch.Generator().manual_seed(2)
    vision = size.config.vision_config
    shape = (size.candidates, vision.num_patches, size.rank)
    codes = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
    scales = (torch.rand(shape[:2], generator=generator) / 60 + 0.01).half()
    directions = torch.randn(vision.hidden_size, size.rank, generator=generator)
    components = torch.linalg.qr(directions)[0].T.contiguous()
    return Latents(codes, scales, Basis("benchmark", components, torch.zeros(vision.hidden_size)))


def pair_flops(size: Size) -> float:
    """Floating-point operations that one more pair costs from the latent cache."""
    config, qformer = size.config, size.config.qformer_config
    queries, text, width = config.num_query_tokens, size.text, qformer.hidden_size
    length, layers = queries + text, qformer.num_hidden_layers
    crossed = -(-layers // qformer.cross_attention_frequency)
    projections = 4 * length * width**2 + 2 * length**2 * width
    self_attention = (layers - 1) * projections
    self_attention -= text * width**2 + 2 * text * length * width  # in the last layer only the queries look
    into_latent = width * size.rank * queries
    patches = 2 * config.vision_config.num_patches * size.rank * qformer.num_attention_heads * queries
    cross = crossed * (2 * queries * width**2 + 2 * into_latent + patches)
    cross -= queries * width**2 + into_latent  # the first queries are shared
    feed_forward = 2 * width * qformer.intermediate_size * (layers * queries + (layers - 2) * text)
    return 2.0 * (self_attention + cross + feed_forward)


def arithmetics(device: torch.device) -> list[torch.dtype]:
    """What scores pairs fast on a device, the likely fastest first, and float32."""
    found = [torch.int8] if device.type == "cpu" and int8_linear.available() else []
    return [*found, *([torch.bfloat16] if has_fast_bf16(device) else []), torch.float32]


def _fastest(found: dict[str, Timing]) -> torch.dtype:
    return min(OURS, key=lambda dtype: found[OURS[dtype]].median if OURS[dtype] in found else math.inf)


def _figures(section: Section, size: Size, found: dict[str, Timing], stock: dict[str, Timing]) -> None:
    name = OURS[_fastest(found)]
    ours, peak = found[name].median, 2 * size.product**3 / found[PRODUCT].median
    goals = (
        {LAVIS: "≥ 4 (AVX2), ≥ 7 (AVX-512)", LAVIS_HALF: "≥ 2"} if size.device == "cpu" else {LAVIS: "≥ 5"}
    )
    section.figures |= {
        f"rerank_{size.candidates}_s": ours,
        "rerank_gflops_share": pair_flops(size) * size.candidates / ours / peak,
        "rerank_fp32_s": found[EXACT].median,
        "rerank_uncompressed_s": found[PLAIN].median,
        "rerank_full_vs_lavis_loop": found[LAVIS].median / ours,
    }
    section.rows.append(Row(f"{size.candidates} candidates, {name}", str(found[name])))
    for theirs in (LAVIS, LAVIS_HALF):
        if theirs in found:
            ratio = f"{found[theirs].median / ours:.1f}×"
            section.rows.append(
                Row(theirs, str(found[name]), str(found[theirs]), ratio, goals.get(theirs, ""))
            )
    if LAVIS_HALF in found:
        section.figures["rerank_full_vs_lavis_loop_bf16"] = found[LAVIS_HALF].median / ours
    others = [other for other in (*OURS.values(), PLAIN) if other in found and other != name]
    section.rows += [Row(f"{size.candidates} candidates, {other}", str(found[other])) for other in others]
    if STOCK in stock:
        whole = stock[STOCK].median * size.candidates / size.stock_images
        section.figures["rerank_vs_stock_forward"] = whole / ours
        section.rows.append(Row(STOCK, str(found[name]), f"{whole:.3g} s", f"{whole / ours:.0f}×", "≥ 300"))
    section.rows.append(Row("share of the matrix peak", f"{section.figures['rerank_gflops_share']:.2f}"))


def _without_vision(stock: Any) -> Any:
    """A copy of a stock model that shares nothing and has no image encoder."""
    vision, stock.vision_model = stock.vision_model, None
    copied = copy.deepcopy(stock)
    stock.vision_model = vision
    return copied


def main() -> None:
    """Measure and print."""
    from benchmarks.run import markdown

    parser = argparse.ArgumentParser(prog="python -m benchmarks.rerank")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-stock-forward", action="store_true")
    given = parser.parse_args()
    size = Size(
        full_config(),
        given.candidates,
        rank=240,
        rounds=given.rounds,
        device=given.device,
        stock_images=0 if given.without_stock_forward else 4,
    )
    print(markdown(measure(size, Path("build"))))


if __name__ == "__main__":
    main()
