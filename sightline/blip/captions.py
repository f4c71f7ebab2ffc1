"""Captions by the ITG head, greedily.

Shapes: B images · P patches · V vision width · Q query tokens · L text so far · W vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightline.blip.itg import ItgHead
from sightline.blip.masks import additive, multimodal_causal
from sightline.blip.network import Blip2Network


def caption_logits(network: Blip2Network, head: ItgHead, patches: Tensor, ids: Tensor) -> Tensor:
    """Next-word logits ``[B,L,W]`` for captions so far ``[B,L]``, under the multimodal causal mask."""
    queries = network.query_tokens.expand(len(patches), -1, -1)
    count = queries.shape[1]
    mask = additive(multimodal_causal(count, ids.shape[1])[None]).to(patches.device)
    hidden = network.qformer(torch.cat([queries, network.embeddings(ids)], dim=1), count, patches, mask)
    return head(hidden[:, count:], network.embeddings.word_embeddings.weight)  # type: ignore[no-any-return]


def greedy_captions(
    network: Blip2Network, head: ItgHead, patches: Tensor, dec: int, sep: int, max_tokens: int
) -> list[list[int]]:
    """The likeliest next word until [SEP]; ids without [DEC] and [SEP]."""
    ids = torch.full((len(patches), 1), dec, dtype=torch.int64, device=patches.device)
    ended = torch.zeros(len(patches), dtype=torch.bool, device=patches.device)
    for _ in range(max_tokens):
        best = caption_logits(network, head, patches, ids)[:, -1].argmax(dim=-1)
        best = torch.where(ended, torch.full_like(best, sep), best)
        ids = torch.cat([ids, best[:, None]], dim=1)
        ended |= best == sep
        if bool(ended.all()):
            break
    rows = [row[1:] for row in ids.tolist()]
    return [row[: row.index(sep)] if sep in row else row for row in rows]
