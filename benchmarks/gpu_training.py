"""Training steps a second: stage 1 of BLIP-2 by the product's learner, and by stock transformers' modules.

Part ``train`` of benchmarks/gpu.py. Both have the same losses and the same optimiser, in bf16 autocast. Stock
makes its passes as LAVIS does (blip2_qformer.py ``forward``): queries, text, ITM's pairs, and the caption
with its queries; ours has the first and the last in one.
Shapes: B pairs · Q query tokens · L text length · P patches · V vision width · S side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.gpu_measuring import Plan, Report, free, in_turns, peak_note
from benchmarks.rerank_stock import stock_model
from sightline.blip.config import Blip2Config
from sightline.blip.itg import ItgHead
from sightline.blip.masks import additive, multimodal_causal, with_padding
from sightline.blip.network import Blip2Network
from sightline.blip.random_weights import full_config, randomise, small_config
from sightline.training.config import OBJECTIVES
from sightline.training.learner import Batch, Learner, freeze
from sightline.training.loop import build_optimiser
from sightline.training.objectives import itc_loss, itg_loss, itm_loss, itm_pairs
from sightline.training.trainee import Optimisation

OURS, SAME = "ours, from kept patches", "stock modules, from the same patches"
PIXELS = "stock modules, from pixels through the frozen ViT in bf16"
WANTED = Optimisation(1e-4, None, 0.05, 0.05, 0.0, 1.0, 0)
LENGTH = 32


class StockLearner(nn.Module):
    """The three losses on the modules of transformers' Blip2ForImageTextRetrieval."""

    def __init__(self, stock: Any, head: ItgHead, decode_id: int) -> None:
        super().__init__()
        self.stock = stock
        self.head = head
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.decode_id = decode_id

    def forward(self, batch: Batch, hardness: float, seed: int) -> dict[str, Tensor]:
        """As the product's `Learner`."""
        stock, patches = self.stock, batch.images
        if patches.ndim == 4:
            with torch.no_grad():
                patches = stock.vision_model(pixel_values=patches.to(torch.bfloat16)).last_hidden_state
        seen = self._pass(stock.query_tokens.expand(len(patches), -1, -1), patches, None)
        tokens = F.normalize(stock.vision_projection(seen), dim=-1).float()
        told = stock.qformer(
            query_embeds=stock.embeddings(input_ids=batch.ids), query_length=0, attention_mask=batch.valid
        ).last_hidden_state
        vectors = F.normalize(stock.text_projection(told[:, 0]), dim=-1).float()
        with torch.autocast(tokens.device.type, enabled=False):
            contrast = itc_loss(tokens, vectors, self.temperature, batch.image_ids, batch.text_ids)
        pairs = itm_pairs(*contrast.local(), hardness, torch.Generator().manual_seed(seed))
        logits = self._match(patches[pairs.image], batch.ids[pairs.text], batch.valid[pairs.text])
        ids = torch.cat([torch.full_like(batch.ids[:, :1], self.decode_id), batch.ids[:, 1:]], dim=1)
        words = self._words(patches, ids, batch.valid)
        return {
            "itc": contrast.loss,
            "itm": itm_loss(logits, pairs.label),
            "itg": itg_loss(words, ids, batch.valid),
        }

    def _pass(self, embeds: Tensor, patches: Tensor, mask: Tensor | None) -> Tensor:
        hidden: Tensor = self.stock.qformer(
            query_embeds=embeds,
            query_length=self.stock.query_tokens.shape[1],
            attention_mask=mask,
            encoder_hidden_states=patches,
        ).last_hidden_state
        return hidden

    def _match(self, patches: Tensor, ids: Tensor, valid: Tensor) -> Tensor:
        queries = self.stock.query_tokens.expand(len(patches), -1, -1)
        mask = torch.cat([valid.new_ones(queries.shape[:2]), valid], dim=1)
        hidden = self._pass(self.stock.embeddings(input_ids=ids, query_embeds=queries), patches, mask)
        logits: Tensor = self.stock.itm_head(hidden[:, : queries.shape[1]]).mean(dim=1)
        return logits

    def _words(self, patches: Tensor, ids: Tensor, valid: Tensor) -> Tensor:
        queries = self.stock.query_tokens.expand(len(patches), -1, -1)
        embeds = self.stock.embeddings(input_ids=ids, query_embeds=queries)
        mask = with_padding(multimodal_causal(queries.shape[1], ids.shape[1]), valid)
        hidden = self._pass(embeds, patches, additive(mask, embeds.dtype))[:, queries.shape[1] :]
        words: Tensor = self.head(hidden, self.stock.embeddings.word_embeddings.weight)
        return words


def run(plan: Plan, report: Report) -> None:
    """Steps a second from kept patches, and from pixels."""
    config = full_config() if plan.full else small_config()
    count = 64 if plan.full else 4
    ours, stock = learners(config, plan.device)
    patches = drawn(config, count)
    side = config.vision_config.image_size
    pixels = Batch(torch.randn(count, 3, side, side), patches.ids, patches.valid, *row_numbers(count))
    report.note(
        f"{count} pairs a step, texts of up to {LENGTH} tokens, AdamW, bf16 autocast, dropout as configured."
    )
    if plan.full:
        patches = Batch(patches.images.half(), *_others(patches))
    programs = {
        OURS: stepping(ours, patches, plan.device),
        SAME: stepping(stock, patches, plan.device),
        PIXELS: stepping(stock, pixels, plan.device),
    }
    found = in_turns(programs, plan.until(0.8), report)
    names = {
        OURS: "train_steps_per_s",
        SAME: "train_stock_steps_per_s",
        PIXELS: "train_stock_pixels_steps_per_s",
    }
    for what, timing in found.items():
        report.figure(names[what], what, 1 / timing.median, "steps/s")
    for what, name in ((SAME, "train_vs_stock"), (PIXELS, "train_vs_stock_from_pixels")):
        if OURS in found and what in found:
            ratio = found[what].median / found[OURS].median
            report.figure(name, f"{OURS} against {what}", ratio, "×")
    peak_note(plan, report)
    del programs, ours, stock
    free(plan.device)


def learners(config: Blip2Config, device: torch.device) -> tuple[Learner, StockLearner]:
    """Ours and stock's with the same weights; Q-Former, heads and temperature are trained."""
    network, heads = (
        Blip2Network(config, with_vision=False),
        [ItgHead(config.qformer_config) for _ in range(2)],
    )
    randomise(network)
    for head in heads:
        randomise(head, 1)
    decode_id = config.qformer_config.vocab_size - 1
    stock = StockLearner(stock_model(config, network, with_vision=True), heads[1], decode_id).to(device)
    stock.train().requires_grad_(True)
    stock.stock.vision_model.requires_grad_(False).eval().to(torch.bfloat16)
    ours = Learner(network, heads[0], decode_id, OBJECTIVES).to(device)
    freeze(ours, freeze_vision=True)
    return ours.train(), stock


def drawn(config: Blip2Config, count: int) -> Batch:
    """Pairs with texts of 8 to 32 tokens."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(8, LENGTH + 1, (count, 1), generator=generator)
    valid = (torch.arange(LENGTH)[None] < lengths).long()
    ids = torch.randint(5, config.qformer_config.vocab_size - 1, (count, LENGTH), generator=generator) * valid
    patches = torch.randn(count, *config.dimensions.patch_shape, generator=generator)
    return Batch(patches, ids, valid, *row_numbers(count))


def row_numbers(count: int) -> tuple[Tensor, Tensor]:
    """All pictures and all sentences differ."""
    return torch.arange(count), torch.arange(count)


def _others(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return batch.ids, batch.valid, batch.image_ids, batch.text_ids


def stepping(learner: Any, batch: Batch, device: torch.device) -> Callable[[], object]:
    """One whole step: the batch goes to the device, losses, gradients, the optimiser."""
    optimiser = build_optimiser(learner, WANTED)
    trained = [one for one in learner.parameters() if one.requires_grad]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            losses = learner(batch.to(device), 1.0, 0)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(trained, WANTED.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step
