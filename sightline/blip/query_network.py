"""The Q-Former of a model that writes, and the projection into its language model.

Shapes: B images · P patches · V vision width · Q query tokens · H Q-Former width · L tokens of an
instruction · W width of the language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from sightline.blip.config_language import WriterConfig
from sightline.blip.qformer import QFormer, TextEmbeddings

T = TypeVar("T")


class QueryNetwork(nn.Module):
    """Patches to query outputs, without a text: BLIP-2 of stage 2."""

    def __init__(self, config: WriterConfig, language_width: int) -> None:
        super().__init__()
        width = config.qformer_config.hidden_size
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, width))
        self.qformer = QFormer(config.qformer_config)
        self.language_projection = nn.Linear(width, language_width)

    def query_outputs(self, patches_BPV: Tensor) -> Tensor:
        """``[B,Q,H]``."""
        queries = self.query_tokens.expand(len(patches_BPV), -1, -1)
        return self.qformer(queries, queries.shape[1], patches_BPV)  # type: ignore[no-any-return]

    def project(self, outputs_BQH: Tensor) -> Tensor:
        """Query outputs to what stands before the prompt: ``[B,Q,W]``."""
        return self.language_projection(outputs_BQH)  # type: ignore[no-any-return]


class InstructedQueryNetwork(QueryNetwork):
    """Patches and an instruction to query outputs: InstructBLIP (arXiv 2305.06500, section 2.3)."""

    def __init__(self, config: WriterConfig, language_width: int) -> None:
        super().__init__(config, language_width)
        self.embeddings = TextEmbeddings(config.qformer_config)

    def instructed_outputs(self, patches_BPV: Tensor, ids_BL: Tensor) -> Tensor:
        """``[B,Q,H]``: queries and instruction all see one another, the queries see the patches."""
        count = self.query_tokens.shape[1]
        queries_BQH = self.query_tokens.expand(len(patches_BPV), -1, -1)
        embeds_BSH = torch.cat([queries_BQH, self.embeddings(ids_BL)], dim=1)
        return self.qformer(embeds_BSH, count, patches_BPV)[:, :count]  # type: ignore[no-any-return]


def instructed_names(tensors: Mapping[str, T]) -> dict[str, T]:
    """InstructBLIP's names in ours: it has the embeddings, and the norm after them, in one module."""
    moved = {
        "qformer.embeddings.layernorm.": "qformer.layernorm.",
        "qformer.embeddings.": "embeddings.",
    }
    return {_moved(name, moved): value for name, value in tensors.items()}


def _moved(name: str, moved: Mapping[str, str]) -> str:
    for old, new in moved.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
