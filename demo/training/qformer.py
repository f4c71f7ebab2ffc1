"""Stage 2: the Q-Former learns ITC, ITM and ITG on the frozen encoder's patches.

One pass over [queries; caption] under the multimodal causal mask serves both ITC and ITG: the queries see
only queries there, so their outputs are those of the unimodal pass.
Shapes: B pictures · P patches · Q queries · L text · K pairs.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from demo.training.batches import Batch, BatchMaker, Texts
from demo.training.grounding import Facts, GroundingHeads, Nouns
from demo.training.half import has_fast_bfloat16, multiply_in_full, multiply_in_half
from demo.training.optimiser import build_optimisers, load_state, save_state, set_rate
from demo.training.recipe import QFormerStage
from sightline.blip.itg import ItgHead
from sightline.blip.masks import additive, multimodal_causal, with_padding
from sightline.blip.network import Blip2Network
from sightline.blip.qformer import padding_mask
from sightline.training.objectives import (
    itc_scores,
    itg_loss,
    itm_loss,
    negative_weights,
    sample_negatives,
    soft_cross_entropy,
    soft_targets,
)

log = logging.getLogger(__name__)


class Learner(nn.Module):
    """What stage 2 optimises: the network without its ViT, the ITG head, the temperature."""

    def __init__(self, network: Blip2Network) -> None:
        super().__init__()
        self.network = network
        self.itg = ItgHead(network.config.qformer_config)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.grounding = GroundingHeads(network.config.qformer_config.hidden_size)

    def image_side(self, patches: Tensor, captions: Texts) -> tuple[Tensor, Tensor]:
        """Image tokens ``[B,Q,D]`` and caption logits ``[B,L,W]`` from one pass."""
        net = self.network
        queries = net.query_tokens.expand(len(patches), -1, -1)
        count = queries.shape[1]
        allowed = with_padding(multimodal_causal(count, captions.ids.shape[1]), captions.valid)
        embeds = torch.cat([queries, net.embeddings(captions.ids)], dim=1)
        hidden = net.qformer(embeds, count, patches, additive(allowed))
        tokens = F.normalize(net.vision_projection(hidden[:, :count]), dim=-1)
        return tokens, self.itg(hidden[:, count:], net.embeddings.word_embeddings.weight)

    def match(self, patches: Tensor, texts: Texts, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """ITM logits ``[K,2]`` averaged over the ``chosen`` query tokens, and text states ``[K,L,H]``."""
        net = self.network
        queries = net.query_tokens[:, chosen].expand(len(patches), -1, -1)
        seen = torch.cat([torch.ones(queries.shape[:2], dtype=torch.int64), texts.valid], dim=1)
        embeds = torch.cat([queries, net.embeddings(texts.ids)], dim=1)
        hidden = net.qformer(embeds, len(chosen), patches, padding_mask(seen))
        return net.itm_head(hidden[:, : len(chosen)]).mean(dim=1), hidden[:, len(chosen) :]


@dataclass(frozen=True)
class Pairs:
    """What ITM judges: rows of the batch's pictures, texts, 1 where they match."""

    pictures: Tensor
    texts: Texts
    labels: Tensor


def choose_pairs(
    scores: Tensor, batch: Batch, hardness: float, miss_share: float, generator: torch.Generator
) -> Pairs:
    """B true pairs, then a negative picture for each sentence, then a negative text for each picture.

    ``scores`` ``[B,B]`` ITC of sentence i and picture j over the temperature. A ``miss_share`` of the
    negative texts are the near misses.
    """
    rows = torch.arange(len(batch.rows))
    pictures, _ = sample_negatives(negative_weights(scores, batch.truth, hardness), generator)
    others, _ = sample_negatives(negative_weights(scores.T, batch.truth.T, hardness), generator)
    use_miss = torch.rand(len(rows), generator=generator) < miss_share
    all_texts = _stack(batch.sentences, batch.near_misses)
    negative_texts = torch.where(use_miss, rows + len(rows), others)
    picked = torch.cat([rows, rows, negative_texts])
    valid = all_texts.valid[picked]
    width = int(valid.sum(1).max())
    labels = torch.cat([torch.ones_like(rows), torch.zeros_like(rows), torch.zeros_like(rows)])
    return Pairs(
        torch.cat([rows, pictures, rows]), Texts(all_texts.ids[picked, :width], valid[:, :width]), labels
    )


def match_by_length(
    learner: Learner, patches: Tensor, pairs: Pairs, chosen: Tensor, facts: Facts, nouns: Nouns
) -> tuple[Tensor, Tensor]:
    """ITM logits ``[K,2]`` and the grounding loss; short and long texts apart, which saves padding."""
    order = pairs.texts.valid.sum(dim=1).argsort()
    found, grounding = [], []
    for half in order.chunk(2):
        width = int(pairs.texts.valid[half].sum(dim=1).max())
        texts = Texts(pairs.texts.ids[half, :width], pairs.texts.valid[half, :width])
        logits, hidden = learner.match(patches[pairs.pictures[half]], texts, chosen)
        found.append(logits)
        grounding.append(learner.grounding(hidden, texts.ids, pairs.pictures[half], facts, nouns))
    return torch.cat(found)[order.argsort()], torch.stack(grounding).mean()


def _stack(a: Texts, b: Texts) -> Texts:
    width = max(a.ids.shape[1], b.ids.shape[1])
    both = [
        (F.pad(t.ids, (0, width - t.ids.shape[1])), F.pad(t.valid, (0, width - t.ids.shape[1])))
        for t in (a, b)
    ]
    return Texts(torch.cat([ids for ids, _ in both]), torch.cat([valid for _, valid in both]))


def losses(
    learner: Learner, patches: Tensor, batch: Batch, stage: QFormerStage, step: int, seed: int, nouns: Nouns
) -> dict[str, Tensor]:
    """The weighted losses of one batch, and how often ITC and ITM are right."""
    tokens, caption_logits = learner.image_side(patches, batch.captions)
    vectors = learner.network.text_vectors(batch.sentences.ids, batch.sentences.valid)
    scores = itc_scores(tokens, vectors).T / learner.temperature.clamp(0.01, 0.5)  # [B sentences, B pictures]
    itc = soft_cross_entropy(scores, soft_targets(batch.truth, 0.05))
    itc = (itc + soft_cross_entropy(scores.T, soft_targets(batch.truth.T, 0.05))) / 2
    found = {
        "itc": itc * stage.itc_weight,
        "itg": itg_loss(caption_logits, batch.captions.ids, batch.captions.valid),
        "itc_top1": batch.truth.gather(1, scores.argmax(1, keepdim=True)).float().mean(),
    }
    if step % stage.itm_every == 0:
        found |= matching_losses(learner, patches, batch, scores.detach(), stage, step, seed, nouns)
    return found


def matching_losses(
    learner: Learner,
    patches: Tensor,
    batch: Batch,
    scores: Tensor,
    stage: QFormerStage,
    step: int,
    seed: int,
    nouns: Nouns,
) -> dict[str, Tensor]:
    """ITM and grounding losses, and how often ITM is right; ``scores`` ``[B,B]`` choose the negatives."""
    done = step / stage.steps
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    ramp = (done - stage.random_negatives_until) / (stage.hard_negatives_from - stage.random_negatives_until)
    hardness = min(max(ramp, 0.0), 1.0)
    pairs = choose_pairs(scores, batch, hardness * 0.8, 0.5 * hardness, generator)
    count = learner.network.config.num_query_tokens
    chosen = torch.randperm(count, generator=generator)[
        : count if done >= stage.full_queries_after else stage.itm_queries
    ]
    logits, grounding = match_by_length(learner, patches, pairs, chosen, batch.facts, nouns)
    right = logits.argmax(1) == pairs.labels
    return {
        "itm": itm_loss(logits, pairs.labels) * stage.itm_weight,
        "ground": grounding,
        "right": right.float().mean().detach(),
        "right_true": right[: len(right) // 3].float().mean(),
    }


LEARNED = ("itc", "itm", "itg", "ground")


def train_qformer(
    learner: Learner,
    stage: QFormerStage,
    patches: NDArray[np.float16],
    batches: BatchMaker,
    state_file: Path,
    seed: int,
) -> Learner:
    """Train one stage, or continue from its last checkpoint."""
    optimisers = build_optimisers([learner], stage.lr, stage.weight_decay)
    state = load_state(state_file)
    start = 0
    if state is not None:
        start = state["step"]
        learner.load_state_dict(state["learner"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    if has_fast_bfloat16():
        multiply_in_half(learner)
    nouns = Nouns(batches.tokenizer)
    began = time.monotonic()
    learner.train()
    for step in range(start, stage.steps):
        batch = batches.make(step, stage)
        found = losses(
            learner, torch.from_numpy(patches[batch.rows]).float(), batch, stage, step, seed, nouns
        )
        torch.stack([found[name] for name in LEARNED if name in found]).sum().backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 2.0)
        set_rate(optimisers, stage.lr, step, stage.steps, warmup=100)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if step % 25 == 0:
            shown = " ".join(f"{name} {value.item():.3f}" for name, value in found.items())
            log.info(
                "%s %d %.0fs %s t %.3f",
                state_file.stem,
                step,
                time.monotonic() - began,
                shown,
                learner.temperature.item(),
            )
        if (step + 1) % 100 == 0 or step + 1 == stage.steps:
            saved = [optimiser.state_dict() for optimiser in optimisers]
            state = {"step": step + 1, "learner": learner.state_dict(), "optimisers": saved}
            save_state(state_file, state)
    multiply_in_full(learner)
    return learner.eval()


def init_qformer(learner: Learner, seed: int) -> None:
    """BERT's initialisation, and query tokens that differ from the start."""
    torch.manual_seed(seed)
    for name, parameter in learner.named_parameters():
        if parameter.ndim >= 2:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    nn.init.normal_(learner.network.query_tokens, std=0.5)
