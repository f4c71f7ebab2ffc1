"""BLIP: pairs judged from cached patches, and captions from cached patches, beside stock transformers.

``python -m benchmarks.blip [--candidates 100] [--captions 4] [--rounds 3]``. Weights are random, since speed
does not depend on the numbers; the geometry is that of Salesforce/blip-itm-base-coco and
blip-image-captioning-base at 384 px. Captions end after a fixed number of tokens on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Row, Section, Timing, alternate
from benchmarks.rerank import arithmetics
from sightline.blip.blip_writers import BlipCaptioner
from sightline.blip.config_blip import BlipConfig
from sightline.blip.latents import Basis, Latents
from sightline.blip.network_blip import BlipNetwork
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.random_weights import randomise
from sightline.blip.random_weights_blip import (
    full_blip_config,
    small_blip_config,
    write_random_blip_captioner,
)
from sightline.blip.sampling import Sampling

PADDED = 35
"""Tokens that the reference pads a text to (salesforce/BLIP ``train_retrieval.py`` ``evaluation``)."""
OURS, HALF = "latent, fastest arithmetic", "uncompressed fp16 patches, fastest arithmetic"
EXACT = "uncompressed fp16 patches, fp32"
LOOP, STOCK = "reference's loop on stock, fp32", "stock forward from pixels, fp32"
CACHED, PIXELS = "captions from cached patches, fp32", "stock generate from pixels, fp32"


@dataclass(frozen=True)
class Size:
    """What is measured."""

    config: BlipConfig
    candidates: int = 100
    rank: int = 128
    text: int = 10
    rounds: int = 3
    stock_images: int = 4
    captions: int = 4
    beams: int = 3
    tokens: int = 12


def size_of(full: bool) -> Size:
    """The real geometry, or one that a test runs in seconds."""
    if full:
        return Size(full_blip_config())
    return Size(small_blip_config(), 6, rank=24, text=4, rounds=1, stock_images=2, captions=2, tokens=5)


def run(full: bool) -> Section:
    """All figures on the CPU."""
    return measure(size_of(full))


def measure(size: Size) -> Section:
    """Time both halves, each side in turns with the other."""
    section = Section(f"BLIP: {size.candidates} candidates, a text of {size.text} tokens; captions")
    _pairs(section, size)
    _captions(section, size)
    return section


class Pairs:
    """One text and its candidates, for ours and for stock transformers with the same weights."""

    def __init__(self, size: Size) -> None:
        from transformers import BlipConfig as StockConfig
        from transformers import BlipForImageTextRetrieval

        self.size = size
        self.network = BlipNetwork(size.config)
        randomise(self.network)
        self.stock: Any = BlipForImageTextRetrieval(StockConfig(**size.config.to_json()))
        self.stock.load_state_dict(self.network.state_dict())
        for model in (self.network, self.stock):
            model.eval().requires_grad_(False)
        self.arithmetic = arithmetics(torch.device("cpu"))[0]
        self.fast = PairScorer(self.network, self.arithmetic)
        self.exact = PairScorer(self.network, torch.float32)
        generator = torch.Generator().manual_seed(1)
        shape = (size.candidates, *size.config.dimensions.patch_shape)
        self.features = torch.randn(shape, generator=generator)
        self.stored = self.features.half()
        self.latents = _latents(size, generator)
        self.ids = torch.randint(5, 40, (1, size.text), generator=generator)
        self.ids[0, 0] = size.config.text_config.enc_token_id
        vision = size.config.vision_config
        self.pixels = torch.randn(size.stock_images, 3, vision.image_size, vision.image_size)

    def programs(self) -> dict[str, Callable[[], Any]]:
        """What is timed."""
        return {
            OURS: lambda: self.fast(self.ids, self.latents),
            HALF: lambda: self.fast(self.ids, self.stored),
            EXACT: lambda: self.exact(self.ids, self.stored),
            LOOP: lambda: self.loop(self.features),
            STOCK: self.forward,
        }

    @torch.inference_mode()
    def loop(self, patches_KPV: Tensor) -> Tensor:
        """Logits ``[K,2]`` as the reference evaluates: one padded text, all candidates in one batch."""
        ids = torch.zeros(len(patches_KPV), PADDED, dtype=torch.int64)
        valid = torch.zeros_like(ids)
        ids[:, : self.size.text], valid[:, : self.size.text] = self.ids, 1
        states = self.stock.text_encoder(
            input_ids=ids, attention_mask=valid, encoder_hidden_states=patches_KPV
        ).last_hidden_state
        logits: Tensor = self.stock.itm_head(states[:, 0])
        return logits

    @torch.inference_mode()
    def forward(self) -> Tensor:
        """Logits of the stock forward on a few images."""
        ids = self.ids.expand(len(self.pixels), -1)
        logits: Tensor = self.stock(input_ids=ids, pixel_values=self.pixels).itm_score
        return logits

    def agreement(self) -> float:
        """Largest difference of a logit between ours in fp32 and the reference's loop, relative to it."""
        few = self.features[: min(8, self.size.candidates)]
        loop = self.loop(few)
        return float(((self.exact(self.ids, few) - loop).abs() / loop.abs().clamp(min=1)).max())

    def flops(self, program: Callable[[Tensor], Any]) -> float:
        """Floating-point operations that one more pair costs."""
        program(self.features[:1])  # folds the weights, once
        counts = []
        for pairs in (1, 3):
            with FlopCounterMode(display=False) as counter:
                program(self.features[:pairs])
            counts.append(counter.get_total_flops())
        return (counts[1] - counts[0]) / 2


def _latents(size: Size, generator: torch.Generator) -> Latents:
    """Codes as a fitted codec would leave them; their values change no time."""
    count, width = size.config.dimensions.patch_shape
    shape = (size.candidates, count, size.rank)
    codes = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
    scales = (torch.rand(shape[:2], generator=generator) / 60 + 0.01).half()
    components = torch.linalg.qr(torch.randn(width, size.rank, generator=generator))[0].T.contiguous()
    return Latents(codes, scales, Basis("benchmark", components, torch.zeros(width)))


def _pairs(section: Section, size: Size) -> None:
    bench = Pairs(size)
    found = alternate(bench.programs(), size.rounds)
    scale = size.candidates / size.stock_images
    whole = {name: one.median * (scale if name == STOCK else 1) for name, one in found.items()}
    for name in (OURS, HALF, EXACT):
        section.rows.append(Row(f"{size.candidates} candidates, {name}", str(found[name])))
        section.figures[f"blip_rerank_{_word(name)}_s"] = whole[name]
    for name in (LOOP, STOCK):
        for ours in (OURS, EXACT):
            ratio = whole[name] / whole[ours]
            section.figures[f"blip_rerank_{_word(ours)}_vs_{_word(name)}"] = ratio
            said = f"{whole[name]:.3g} s" if name == STOCK else str(found[name])
            section.rows.append(Row(f"{name}; ours: {ours}", str(found[ours]), said, f"{ratio:.1f}×"))
    kept = min(whole[OURS], whole[HALF])
    section.figures["blip_vs_stock"] = whole[STOCK] / kept
    forward = f"{whole[STOCK]:.3g} s"
    section.rows.append(
        Row(f"{STOCK}; ours: best kept form", f"{kept:.3g} s", forward, f"{whole[STOCK] / kept:.0f}×", "≥ 20")
    )
    pair = bench.flops(lambda few: bench.exact(bench.ids, few))
    loop = bench.flops(bench.loop)
    section.figures |= {"blip_pair_gflop": pair / 1e9, "blip_loop_pair_gflop": loop / 1e9}
    section.notes += [
        f"The fastest arithmetic here: {str(bench.arithmetic).removeprefix('torch.')}.",
        f"A pair from uncompressed patches takes {pair / 1e9:.2g} GFLOP, in the loop {loop / 1e9:.3g}.",
        f"Largest relative difference of a logit to the loop, in fp32: {bench.agreement():.1e}.",
        f"The stock forward was measured on {size.stock_images} images and scaled to {size.candidates}.",
    ]


def _word(name: str) -> str:
    words = {OURS: "latent", HALF: "fp16", EXACT: "fp32", LOOP: "loop", STOCK: "forward"}
    return words[name]


def _captions(section: Section, size: Size) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_random_blip_captioner(Path(folder), size.config)
        for name, sampling in (
            ("greedy", Sampling("greedy", min_tokens=size.tokens, max_tokens=size.tokens)),
            ("beam", Sampling("beam", size.beams, min_tokens=size.tokens, max_tokens=size.tokens)),
        ):
            found, same = _timed(path, size, sampling)
            each = {key: size.captions / one.median for key, one in found.items()}
            ratio = each[CACHED] / each[PIXELS]
            section.figures[f"blip_captions_{name}_per_s"] = each[CACHED]
            section.figures[f"blip_captions_{name}_vs_stock"] = ratio
            rate = f"{each[CACHED]:.3g} a second", f"{each[PIXELS]:.3g} a second"
            section.rows.append(Row(f"{PIXELS}, {name}; ours: {CACHED}", *rate, f"{ratio:.2f}×"))
            section.notes.append(
                f"Captions ({name}) equal stock's token for token: {'yes' if same else 'no'}."
            )


def _timed(path: Path, size: Size, sampling: Sampling) -> tuple[dict[str, Timing], bool]:
    """Both sides on the same pictures, and whether they wrote the same."""
    from transformers import BlipForConditionalGeneration

    ours = BlipCaptioner(path, device="cpu", dtype="float32")
    stock: Any = BlipForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()
    side = size.config.vision_config.image_size
    pixels = torch.randn(size.captions, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        patches = ours.encode_patches(pixels).half()  # as the cache keeps them
    start = torch.tensor([[size.config.text_config.bos_token_id, size.config.text_config.sep_token_id]])
    asked = {
        "num_beams": sampling.beams,
        "min_new_tokens": sampling.min_tokens - 1,
        "max_new_tokens": sampling.max_tokens,
    }

    def theirs() -> Tensor:
        ids = start.repeat(size.captions, 1)
        rows: Tensor = stock.generate(pixel_values=pixels, input_ids=ids, **asked)
        return rows

    drafts = ours.decoder.write(patches, [], 1, sampling)
    end = size.config.text_config.sep_token_id
    same = [one.ids for (one,) in drafts] == [
        row[: row.index(end)] if end in row else row for row in theirs()[:, 1:].tolist()
    ]
    programs: dict[str, Callable[[], Any]] = {
        CACHED: lambda: ours.decoder.write(patches, [], 1, sampling),
        PIXELS: theirs,
    }
    return alternate(programs, size.rounds, warmup=0), same


def main() -> None:
    """Measure and print."""
    from benchmarks.run import markdown

    parser = argparse.ArgumentParser(prog="python -m benchmarks.blip")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--captions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    size = Size(full_blip_config(), given.candidates, captions=given.captions, rounds=given.rounds)
    print(markdown(measure(size)))


if __name__ == "__main__":
    main()
