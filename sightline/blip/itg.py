"""The ITG head: from Q-Former text states to word logits, tied to the word embeddings.

Checkpoints in transformers' format have none, and ``save_pretrained`` would drop it, so it lives beside the
model in ``itg_head.safetensors`` (docs/scoring.md, trap 11). BERT's prediction head: dense, GELU, LayerNorm,
then the word embeddings transposed plus a bias (LAVIS ``Qformer.py`` ``BertLMPredictionHead``).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.blip.activations import activation
from sightline.blip.config import QFormerConfig
from sightline.blip.headers import read_header
from sightline.blip.weights import fill

FILE = "itg_head.safetensors"


class ItgTransform(nn.Module):
    """Dense, activation, LayerNorm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.activation = activation(config.hidden_act)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(x)))  # type: ignore[no-any-return]


class ItgHead(nn.Module):
    """``[B,L,H]`` text states and the ``[W,H]`` word embeddings to ``[B,L,W]`` logits."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.transform = ItgTransform(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        return F.linear(self.transform(x), word_embeddings, self.bias)


def save_itg_head(folder: Path, head: ItgHead, dtype: torch.dtype) -> None:
    """Write ``itg_head.safetensors``."""
    tensors = {
        name: value.detach().to("cpu", dtype).contiguous() for name, value in head.state_dict().items()
    }
    save_file(tensors, folder / FILE, metadata={"format": "pt"})


def load_itg_head(folder: Path, config: QFormerConfig) -> ItgHead | None:
    """The head beside a checkpoint, in fp32; None where there is none (all released weights).

    Raises:
        CheckpointError: the file is damaged, or is another checkpoint's.
    """
    path = folder / FILE
    if not path.exists():
        return None
    head = ItgHead(config)
    fill(head, read_header(path), dtype=torch.float32, device=torch.device("cpu"))
    return head.train().requires_grad_(True)
