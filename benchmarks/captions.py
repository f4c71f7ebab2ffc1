"""Captions and answers by a language model, from what is kept of an image, beside stock from pixels.

``python -m benchmarks.captions [--geometry opt-2.7b,flan-t5-xl,vicuna-7b] [--layers N] [--images 2]``. What
each side must compute is counted on the meta device at full depth, greedily, for one image; what it takes is
timed with random weights, since speed does not depend on the numbers: bfloat16, the Q-Former of ours in
float32, both sides with the same language model. ``--layers`` times fewer layers of ViT and language model
alike, where memory is short: the counts are then of that depth too. ``--count`` counts only.
Shapes: B images · P patches · V vision width · Q query tokens · H Q-Former width · W width of the language
model.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.captions_geometry import GEOMETRIES, OPT, Geometry, shallow, small, stock_model
from benchmarks.machine import free_gb
from benchmarks.measuring import NO_BF16, Budget, Row, Section, alternate, has_fast_bf16
from benchmarks.rerank_stock import _fill_with_noise as fill_with_noise
from sightline.blip.config import QFormerConfig, VisionConfig
from sightline.blip.config_language import WriterConfig
from sightline.blip.language_model import LanguageModel
from sightline.blip.language_tokenizer import LanguageTokenizer
from sightline.blip.query_network import InstructedQueryNetwork, QueryNetwork, instructed_names
from sightline.blip.random_tokenizers import opt_words
from sightline.blip.sampling import Sampling

MEMORY_GB, SECONDS = 10, 90
"""What timing OPT-2.7B with its ViT takes."""

# -- counting


def gflop(geometry: Geometry, stock: Any) -> tuple[float, float]:
    """(from pixels, from what is kept) of one image, greedily, with a cache of keys and values."""
    vision = _counted(lambda: stock.vision_model(pixel_values=torch.empty(1, 3, 224, 224, device="meta")))
    queries = _counted(lambda: _query(geometry, stock))
    language = _counted(lambda: _speak(geometry, stock.language_model))
    kept = queries + language if geometry.instructed else language
    return vision + queries + language, kept


def _counted(run: Any) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run()
    return counter.get_total_flops() / 1e9


def _query(geometry: Geometry, stock: Any) -> None:
    given: dict[str, Tensor] = {}
    if geometry.instructed:
        given["input_ids"] = torch.zeros(1, geometry.prompt, dtype=torch.int64, device="meta")
    patches = torch.empty(1, 257, 1408, device="meta")
    stock.qformer(query_embeds=stock.query_tokens, encoder_hidden_states=patches, **given)


def _speak(geometry: Geometry, model: Any) -> None:
    """Read the image's positions and the prompt, then one token after the other."""
    width = model.get_input_embeddings().embedding_dim
    embeds = torch.empty(1, 32 + geometry.prompt, width, device="meta")
    token = torch.zeros(1, 1, dtype=torch.int64, device="meta")
    if geometry.text["model_type"] == "t5":
        read = (model.get_encoder()(inputs_embeds=embeds).last_hidden_state,)
        out = model(encoder_outputs=read, decoder_input_ids=token, use_cache=True)
        for _ in range(geometry.new - 1):
            past = out.past_key_values
            out = model(encoder_outputs=read, decoder_input_ids=token, past_key_values=past)
        return
    # Masks of four dimensions: into others the library looks, and there is nothing in a meta tensor.
    length = embeds.shape[1]
    at = torch.zeros(1, length, dtype=torch.int64, device="meta")
    out = model(
        inputs_embeds=embeds,
        attention_mask=torch.empty(1, 1, length, length, device="meta"),
        position_ids=at,
        use_cache=True,
        logits_to_keep=1,
    )
    for step in range(1, geometry.new):
        seen = torch.empty(1, 1, 1, length + step, device="meta")
        past = out.past_key_values
        out = model(input_ids=token, attention_mask=seen, position_ids=token, past_key_values=past)


# -- timing


class Sides:
    """Both ways to the same words, over one language model."""

    def __init__(self, geometry: Geometry, stock: Any, images: int) -> None:
        self.geometry, self.stock = geometry, _with_noise(stock)
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(images, 3, 224, 224, generator=generator).bfloat16()
        words = LanguageTokenizer(opt_words().tokenizer, rows=geometry.text["vocab_size"])
        config = WriterConfig(VisionConfig(), self._qformer(), geometry.text, 32, None)
        self.language = LanguageModel(self.stock.language_model, words, config, torch.bfloat16)
        self.language.ends = [geometry.text["vocab_size"]]  # never said: as many tokens on both sides
        kind = InstructedQueryNetwork if geometry.instructed else QueryNetwork
        self.network = kind(config, self.language.width)
        parts = {
            name: one for name, one in self.stock.state_dict().items() if not name.startswith("language_m")
        }
        named = instructed_names(parts) if geometry.instructed else parts
        wanted = {name: named[name].float() for name in self.network.state_dict()}
        self.network.load_state_dict(wanted)
        self.prompt = torch.randint(5, 30000, (1, geometry.prompt), generator=generator)
        self.kept = self._keep()

    def _qformer(self) -> QFormerConfig:
        return QFormerConfig(vocab_size=30523, use_qformer_text_input=self.geometry.instructed)

    @torch.inference_mode()
    def _keep(self) -> Tensor:
        """Patches, or query outputs, as the cache has them: fp16."""
        patches = self.stock.vision_model(pixel_values=self.pixels).last_hidden_state
        return (patches if self.geometry.instructed else self.network.query_outputs(patches.float())).half()

    @torch.inference_mode()
    def ours(self) -> list[list[int]]:
        """From what is kept."""
        kept = self.kept.float()
        if isinstance(self.network, InstructedQueryNetwork):
            kept = self.network.instructed_outputs(kept, self.prompt.expand(len(kept), -1))
        prompts = self.prompt.tolist() * len(kept)
        sampling = Sampling("greedy", max_tokens=self.geometry.new)
        rows = self.language.write(self.network.project(kept), prompts, 1, sampling)
        return [row[0].ids for row in rows]

    def theirs(self) -> Tensor:
        """From pixels: the stock model's own ``generate``."""
        count = len(self.pixels)
        image = torch.full((count, 32), self.stock.config.image_token_index)
        prompt = self.prompt.expand(count, -1)
        given = {"input_ids": torch.cat([image, prompt], dim=1), "pixel_values": self.pixels}
        if self.geometry.instructed:
            given["qformer_input_ids"] = prompt
        new = self.geometry.new
        out: Tensor = self.stock.generate(
            **given,
            do_sample=False,
            max_new_tokens=new,
            eos_token_id=[self.geometry.text["vocab_size"]],
            pad_token_id=0,
        )
        return out


def _with_noise(stock: Any) -> Any:
    stock.to(torch.bfloat16).to_empty(device="cpu")
    fill_with_noise(stock)
    for module in stock.modules():  # what is computed and not learned was lost on the meta device
        if hasattr(module, "position_ids"):
            module.position_ids.copy_(torch.arange(module.position_ids.shape[-1])[None])
        if hasattr(module, "inv_freq"):
            module.inv_freq.copy_(type(module)(module.config).inv_freq)
    stock.language_model.tie_weights()
    return stock


def measure(geometry: Geometry, images: int, rounds: int, timed: bool = True) -> Section:
    """Counts, and times where ``timed``, of one geometry."""
    section = Section(f"{geometry.name}: {geometry.what}s of {geometry.new} tokens, {images} images")
    add(section, geometry, images, rounds, timed)
    return section


def add(section: Section, geometry: Geometry, images: int, rounds: int, timed: bool) -> None:
    """Figures and rows of one geometry."""
    stock = stock_model(geometry)
    whole, kept = gflop(geometry, stock)
    name = f"{geometry.name}_{geometry.what}"
    section.figures |= {f"{name}_gflop_stock": whole, f"{name}_gflop": kept}
    said = (f"{kept:.0f}", f"{whole:.0f}", f"{whole / kept:.2f}")
    section.rows.append(Row(f"{geometry.name}: GFLOP an image", *said))
    if timed:
        sides = Sides(geometry, stock, images)
        times = alternate({"ours": sides.ours, "theirs": sides.theirs}, rounds)
        ours, theirs = times["ours"].median, times["theirs"].median
        section.figures |= {f"{name}s_per_second": images / ours, f"{name}_vs_stock": theirs / ours}
        speeds = [f"{images / one:.3g}/s ({times[who]})" for who, one in (("ours", ours), ("theirs", theirs))]
        section.rows.append(
            Row(f"{geometry.name}: {geometry.what}s a second", *speeds, f"{theirs / ours:.2f}")
        )


def run(full: bool) -> Section:
    """Counts of all three at full size; times of OPT-2.7B, which fits most machines."""
    section = Section("Captions and answers by language models")
    why_not = hindrance(full)
    if why_not:
        section.skip(f"times of language models: {why_not}.")
    for geometry in GEOMETRIES.values():
        timed = not why_not and (not full or geometry is OPT)
        add(section, geometry if full else small(geometry), 2, 2 if full else 1, timed)
    return section


def hindrance(full: bool) -> str:
    """Why nothing is timed here; empty where it is."""
    if full and not has_fast_bf16():
        return NO_BF16
    if full and free_gb() < MEMORY_GB:
        return f"they need {MEMORY_GB} GB of memory, and {free_gb():.0f} are free"
    if not Budget.given().enough_for(SECONDS if full else 0):
        return "the time is up"
    return ""


def main() -> None:
    """Command line."""
    from benchmarks.run import markdown

    parser = argparse.ArgumentParser(prog="python -m benchmarks.captions")
    parser.add_argument("--geometry", default=",".join(GEOMETRIES))
    parser.add_argument("--layers", type=int, help="of ViT and language model; all where it is left out")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", action="store_true", help="count only, and load nothing")
    given = parser.parse_args()
    for name in given.geometry.split(","):
        geometry = GEOMETRIES[name]
        if given.layers:
            geometry = shallow(geometry, given.layers)
        print(markdown(measure(geometry, given.images, given.rounds, not given.count)), flush=True)


if __name__ == "__main__":
    main()
