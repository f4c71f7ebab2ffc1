"""The Q-Former: BERT layers over query tokens and text, the queries cross-attending to the patches.

Modules are named as in transformers 5.23 ``models/blip_2/modeling_blip_2.py``, so a checkpoint's tensors load
by name.
Shapes: B rows · Q query tokens · L text tokens · S = Q + L · H width · P patches · V vision width · N heads.

Masks are additive and four-dimensional, ``[B,1,S,S]`` or broadcastable, 0 where attended and -inf where not.
A boolean mask would silently leak under some attention back ends, so none is accepted (docs/scoring.md,
trap 10).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.blip.activations import activation
from sightline.blip.config import QFormerConfig


class BertSizes(Protocol):
    """What the layers of any BERT need to know: a Q-Former's, or those of BLIP's text encoder."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_attention_heads(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def max_position_embeddings(self) -> int: ...
    @property
    def hidden_act(self) -> str: ...
    @property
    def layer_norm_eps(self) -> float: ...
    @property
    def hidden_dropout_prob(self) -> float: ...
    @property
    def attention_probs_dropout_prob(self) -> float: ...


class TextEmbeddings(nn.Module):
    """Word and position embeddings; query tokens carry no position."""

    def __init__(self, config: BertSizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        """``[B,L]`` ids to ``[B,L,H]``."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.word_embeddings(ids) + self.position_embeddings(positions)  # type: ignore[no-any-return]


class MultiHeadAttention(nn.Module):
    """Queries from ``x``, keys and values from ``context``."""

    def __init__(self, config: BertSizes, context_width: int) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(context_width, config.hidden_size)
        self.value = nn.Linear(context_width, config.hidden_size)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)  # [B,N,·,H/N]

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            self._split(self.query(x)),
            self._split(self.key(context)),
            self._split(self.value(context)),
        )
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return out.transpose(1, 2).reshape(x.shape)


class ResidualNorm(nn.Module):
    """``LayerNorm(residual + dense(x))``, BERT's post-norm."""

    def __init__(self, config: BertSizes, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Attention, output projection, residual and norm."""

    def __init__(self, config: QFormerConfig, context_width: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(config, context_width)
        self.output = ResidualNorm(config, config.hidden_size)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.output(self.attention(x, context, mask), x)  # type: ignore[no-any-return]


class Intermediate(nn.Module):
    """First half of a feed-forward block."""

    def __init__(self, config: BertSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation_name = config.hidden_act
        self.activation = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(x))


class QFormerLayer(nn.Module):
    """Joint self-attention; cross-attention for the queries; a feed-forward each for queries and text.

    One that never reads text (BLIP-2 of stage 2) has no feed-forward for it.
    """

    def __init__(self, config: QFormerConfig, index: int) -> None:
        super().__init__()
        self.attention = Attention(config, config.hidden_size)
        self.crossattention = None
        if index % config.cross_attention_frequency == 0:
            self.crossattention = Attention(config, config.encoder_hidden_size)
        if config.use_qformer_text_input:
            self.intermediate = Intermediate(config)
            self.output = ResidualNorm(config, config.intermediate_size)
        self.intermediate_query = Intermediate(config)
        self.output_query = ResidualNorm(config, config.intermediate_size)

    def forward(self, x: Tensor, num_queries: int, patches: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.attention(x, x, mask)
        if num_queries == 0:
            return self.feed_forward_text(x)
        queries, text = x[:, :num_queries], x[:, num_queries:]
        if self.crossattention is not None and patches is not None:
            queries = self.crossattention(queries, patches)
        queries = self.feed_forward_query(queries)
        return torch.cat([queries, self.feed_forward_text(text)], dim=1) if text.shape[1] else queries

    def feed_forward_text(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(x), x)  # type: ignore[no-any-return]

    def feed_forward_query(self, x: Tensor) -> Tensor:
        return self.output_query(self.intermediate_query(x), x)  # type: ignore[no-any-return]


class QFormerEncoder(nn.Module):
    """The stack of layers; its own module only because checkpoints name it."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(QFormerLayer(config, index) for index in range(config.num_hidden_layers))


class QFormer(nn.Module):
    """Embeddings in, hidden states out."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.encoder = QFormerEncoder(config)

    def forward(
        self, embeds: Tensor, num_queries: int, patches: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Run every layer.

        Args:
            embeds: ``[B,S,H]``, query tokens first, then text embeddings.
            num_queries: how many of the S positions are queries; 0 for text alone.
            patches: ``[B,P,V]``, required when there are queries.
            mask: additive ``[B,1,S,S]`` or broadcastable; None lets everything see everything.

        Returns:
            ``[B,S,H]`` hidden states of the last layer.
        """
        x = self.dropout(self.layernorm(embeds))
        for layer in self.encoder.layer:
            x = layer(x, num_queries, patches, mask)
        return x  # type: ignore[no-any-return]


def padding_mask(valid: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Additive mask ``[B,1,1,S]`` from 0/1 ``valid`` ``[B,S]``: padding is seen by nobody."""
    mask = torch.zeros(valid.shape, dtype=dtype, device=valid.device)
    return mask.masked_fill(valid == 0, float("-inf"))[:, None, None, :]
