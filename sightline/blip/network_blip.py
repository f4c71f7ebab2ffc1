"""A BLIP retrieval model with transformers' parameter names (``models/blip/modeling_blip_text.py``).

The text encoder is a BERT. Alone it reads a text; with cross-attention in every layer it reads a text while
looking at patches, which is the image-grounded text encoder of the paper (arXiv 2201.12086, section 3.1).
Shapes: B images · T texts · K pairs · L text length · H width · P patches · V vision width · D joint dim.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.blip.config_blip import BlipConfig, BlipTextConfig
from sightline.blip.qformer import (
    Intermediate,
    MultiHeadAttention,
    ResidualNorm,
    TextEmbeddings,
    padding_mask,
)
from sightline.blip.scored import ScoredLayer, ScoredNetwork
from sightline.blip.vit import VisionModel


class NormedEmbeddings(TextEmbeddings):
    """Word and position embeddings, their norm applied."""

    def __init__(self, config: BlipTextConfig) -> None:
        super().__init__(config)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        """``[B,L]`` ids to ``[B,L,H]``."""
        return self.LayerNorm(super().forward(ids))  # type: ignore[no-any-return]


class TextAttention(nn.Module):
    """Attention, output projection, residual and norm; checkpoints call the inner part ``self``."""

    def __init__(self, config: BlipTextConfig, context_width: int) -> None:
        super().__init__()
        self.self = MultiHeadAttention(config, context_width)
        self.output = ResidualNorm(config, config.hidden_size)

    @property
    def attention(self) -> MultiHeadAttention:
        """Projections of queries, keys and values."""
        return self.self

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.output(self.self(x, context, mask), x)  # type: ignore[no-any-return]


class TextLayer(nn.Module):
    """Self-attention, cross-attention where patches are given, feed-forward."""

    def __init__(self, config: BlipTextConfig) -> None:
        super().__init__()
        self.attention = TextAttention(config, config.hidden_size)
        self.crossattention = TextAttention(config, config.encoder_hidden_size)
        self.intermediate = Intermediate(config)
        self.output = ResidualNorm(config, config.intermediate_size)

    def forward(self, x: Tensor, patches: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.attention(x, x, mask)
        if patches is not None:
            x = self.crossattention(x, patches)
        return self.output(self.intermediate(x), x)  # type: ignore[no-any-return]


class TextLayers(nn.Module):
    """The stack of layers; its own module only because checkpoints name it."""

    def __init__(self, config: BlipTextConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TextLayer(config) for _ in range(config.num_hidden_layers))


class TextEncoder(nn.Module):
    """Ids in, hidden states out."""

    def __init__(self, config: BlipTextConfig) -> None:
        super().__init__()
        self.embeddings = NormedEmbeddings(config)
        self.encoder = TextLayers(config)

    def forward(self, ids: Tensor, patches: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """``[B,L]`` ids to ``[B,L,H]``.

        Args:
            ids: ``[B,L]``.
            patches: ``[B,P,V]``; None reads the text alone.
            mask: additive ``[B,1,1,L]``; None where no row is padded.
        """
        x = self.embeddings(ids)
        for layer in self.encoder.layer:
            x = layer(x, patches, mask)
        return x  # type: ignore[no-any-return]


class BlipNetwork(ScoredNetwork):
    """ViT, text encoder and the three heads that a retrieval checkpoint has."""

    def __init__(self, config: BlipConfig, with_vision: bool = True) -> None:
        super().__init__()
        self.config = config
        width, joint = config.text_config.hidden_size, config.image_text_hidden_size
        self.vision_model = VisionModel(config.vision_config) if with_vision else None
        self.text_encoder = TextEncoder(config.text_config)
        self.vision_proj = nn.Linear(config.vision_config.hidden_size, joint)
        self.text_proj = nn.Linear(width, joint)
        self.itm_head = nn.Linear(width, 2)

    def image_tokens(self, patches_BPV: Tensor) -> Tensor:
        """The class patch projected, a unit row: ``[B,1,D]``."""
        return F.normalize(self.vision_proj(patches_BPV[:, :1]), dim=-1)

    def text_vectors(self, ids_TL: Tensor, valid_TL: Tensor) -> Tensor:
        """The text alone, [CLS] projected, unit rows: ``[T,D]``."""
        hidden_TLH = self.text_encoder(ids_TL, None, padding_mask(valid_TL, self.itm_head.weight.dtype))
        return F.normalize(self.text_proj(hidden_TLH[:, 0]), dim=-1)

    def itm_logits(self, patches_KPV: Tensor, ids_KL: Tensor, valid_KL: Tensor | None) -> Tensor:
        """ITM logits ``[K,2]``; index 1 is "match".

        The first token is made [ENC], whose last state the head reads (salesforce/BLIP
        ``models/blip_retrieval.py``: ``encoder_input_ids[:,0] = self.tokenizer.enc_token_id``). ``valid_KL``
        is None when no row is padded.
        """
        mask = None if valid_KL is None else padding_mask(valid_KL, self.itm_head.weight.dtype)
        hidden_KLH = self.text_encoder(self.encoding(ids_KL), patches_KPV, mask)
        return self.itm_head(hidden_KLH[:, 0])  # type: ignore[no-any-return]

    def encoding(self, ids_KL: Tensor) -> Tensor:
        """A copy ``[K,L]`` with [ENC] in the first place."""
        enc = torch.full_like(ids_KL[:, :1], self.config.text_config.enc_token_id)
        return torch.cat([enc, ids_KL[:, 1:]], dim=1)

    # -- for pair scoring (sightline/blip/scored.py)

    def scored_layers(self) -> list[ScoredLayer]:
        """Every layer looks at the patches, with every position."""
        layers = (cast(TextLayer, layer) for layer in self.text_encoder.encoder.layer)
        return [
            ScoredLayer(one.attention, one.crossattention, (one.intermediate, one.output), None)
            for one in layers
        ]

    def first_states(self, ids_1L: Tensor) -> Tensor:
        """``[1,L,H]``."""
        return self.text_encoder.embeddings(self.encoding(ids_1L))  # type: ignore[no-any-return]

    def looking(self, length: int) -> int:
        """All of them."""
        return length

    @property
    def judged(self) -> int:
        """[ENC] alone."""
        return 1

    @property
    def num_patches(self) -> int:
        """P."""
        return self.config.vision_config.num_patches

    @property
    def vocabulary(self) -> int:
        """Rows of the word embedding."""
        return self.config.text_config.vocab_size

    @property
    def word_embedding(self) -> nn.Embedding:
        """``[vocabulary,H]``."""
        embedding: nn.Embedding = self.text_encoder.embeddings.word_embeddings
        return embedding
