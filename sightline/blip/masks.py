"""The self-attention mask of the Q-Former over [queries; text] for ITG: a 0/1 matrix, then an additive mask.

BLIP-2 (arXiv 2301.12597), figure 2, has three. Two need no matrix here: ITC's unimodal one, because queries
and text go through the Q-Former apart, and ITM's bidirectional one, which hides nothing but padding.
Only 4-D *additive* masks may reach the stock Q-Former: it rejects 3-D masks, and under eager attention a 4-D
boolean mask silently leaks the future (docs/scoring.md, trap 10).

``Q`` query tokens · ``L`` text tokens · ``S`` = Q + L · row = who looks, column = who is seen.
"""

from __future__ import annotations

import torch
from torch import Tensor


def multimodal_causal(queries: int, text: int) -> Tensor:
    """``[S, S]`` 0/1: queries see queries only; text sees all queries, earlier text and itself."""
    matrix = torch.zeros(queries + text, queries + text, dtype=torch.int64)
    matrix[:, :queries] = 1
    matrix[queries:, queries:] = torch.tril(torch.ones(text, text, dtype=torch.int64))
    return matrix


def with_padding(matrix: Tensor, text_mask: Tensor) -> Tensor:
    """``[S, S]`` and the tokenizer's ``[B, L]`` (1 = real) to ``[B, S, S]`` 0/1: nobody sees padding."""
    queries = matrix.shape[0] - text_mask.shape[1]
    seen = torch.cat([text_mask.new_ones(text_mask.shape[0], queries), text_mask], dim=1)
    return matrix.to(text_mask.device)[None] * (seen != 0).to(matrix.dtype)[:, None, :]


def additive(allowed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """``[B, S, S]`` 0/1 to the ``[B, 1, S, S]`` that is added to attention scores.

    0 where seen, else the type's lowest number and not minus infinity: a padded row that may see nothing
    would otherwise become NaN.
    """
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill(allowed == 0, torch.finfo(dtype).min)[:, None]
