"""All modules of a BLIP-2 retrieval model under one roof, with transformers' parameter names.

``Blip2Network`` is what training optimises and what ``Blip2`` (sightline/blip/blip2.py) wraps for inference.
Shapes: B images · T texts · K pairs · Q query tokens · L text length · H width · P patches ·
V vision width · D joint dim.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.blip.config import Blip2Config
from sightline.blip.qformer import QFormer, QFormerLayer, TextEmbeddings, padding_mask
from sightline.blip.scored import ScoredLayer, ScoredNetwork
from sightline.blip.vit import VisionModel


class Blip2Network(ScoredNetwork):
    """ViT, Q-Former and the three heads that a retrieval checkpoint has."""

    def __init__(self, config: Blip2Config, with_vision: bool = True) -> None:
        super().__init__()
        self.config = config
        width = config.qformer_config.hidden_size
        self.vision_model = VisionModel(config.vision_config) if with_vision else None
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, width))
        self.embeddings = TextEmbeddings(config.qformer_config)
        self.qformer = QFormer(config.qformer_config)
        self.vision_projection = nn.Linear(width, config.image_text_hidden_size)
        self.text_projection = nn.Linear(width, config.image_text_hidden_size)
        self.itm_head = nn.Linear(width, 2)

    def query_outputs(self, patches_BPV: Tensor) -> Tensor:
        """Q-Former over the queries alone: ``[B,Q,H]``."""
        queries = self.query_tokens.expand(len(patches_BPV), -1, -1)
        return self.qformer(queries, queries.shape[1], patches_BPV)  # type: ignore[no-any-return]

    def image_tokens(self, patches_BPV: Tensor) -> Tensor:
        """Image tokens for ITC, unit rows: ``[B,Q,D]``."""
        return F.normalize(self.vision_projection(self.query_outputs(patches_BPV)), dim=-1)

    def text_vectors(self, ids_TL: Tensor, valid_TL: Tensor) -> Tensor:
        """Q-Former over the text alone, [CLS] projected, unit rows: ``[T,D]``."""
        hidden = self.qformer(
            self.embeddings(ids_TL), 0, None, padding_mask(valid_TL, self.query_tokens.dtype)
        )
        return F.normalize(self.text_projection(hidden[:, 0]), dim=-1)

    def itm_logits(self, patches_KPV: Tensor, ids_KL: Tensor, valid_KL: Tensor | None) -> Tensor:
        """ITM logits averaged over the queries, ``[K,2]``; index 1 is "match".

        One sequence [queries; text] with full self-attention (blip2_qformer.py ``compute_itm``). ``valid_KL``
        is None when no row is padded.
        """
        queries = self.query_tokens.expand(len(patches_KPV), -1, -1)
        embeds = torch.cat([queries, self.embeddings(ids_KL)], dim=1)
        mask = None
        if valid_KL is not None:
            seen = torch.ones(queries.shape[:2], dtype=valid_KL.dtype, device=valid_KL.device)
            mask = padding_mask(torch.cat([seen, valid_KL], dim=1), embeds.dtype)
        hidden = self.qformer(embeds, queries.shape[1], patches_KPV, mask)
        return self.itm_head(hidden[:, : queries.shape[1]]).mean(dim=1)  # type: ignore[no-any-return]

    # -- for pair scoring (sightline/blip/scored.py)

    def scored_layers(self) -> list[ScoredLayer]:
        """The queries have a feed-forward block of their own."""
        layers = (cast(QFormerLayer, layer) for layer in self.qformer.encoder.layer)
        return [
            ScoredLayer(
                one.attention,
                one.crossattention,
                (one.intermediate_query, one.output_query),
                (one.intermediate, one.output),
            )
            for one in layers
        ]

    def first_states(self, ids_1L: Tensor) -> Tensor:
        """``[1,Q+L,H]``: the query tokens, then the text."""
        embeds_1SH = torch.cat([self.query_tokens, self.embeddings(ids_1L)], dim=1)
        return self.qformer.layernorm(embeds_1SH)  # type: ignore[no-any-return]

    def looking(self, length: int) -> int:
        """The queries."""
        return self.judged

    @property
    def judged(self) -> int:
        """Q."""
        return self.config.num_query_tokens

    @property
    def num_patches(self) -> int:
        """P."""
        return self.config.vision_config.num_patches

    @property
    def vocabulary(self) -> int:
        """Rows of the word embedding."""
        return self.config.qformer_config.vocab_size

    @property
    def word_embedding(self) -> nn.Embedding:
        """``[vocabulary,H]``."""
        return self.embeddings.word_embeddings
