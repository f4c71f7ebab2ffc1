"""The Q-Former as a language model: captions by ITG (arXiv 2301.12597, 3.1), searched by transformers.

Under ITG's mask the queries see neither words nor anything that depends on them, so what they are in each
layer is computed once for an image, and a step computes its words alone.
Shapes: B images · X rows of the search · P patches · V vision width · Q query tokens · N layers ·
H width · L words so far · W vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from sightline.blip.itg import ItgHead
from sightline.blip.masks import additive, multimodal_causal
from sightline.blip.network import Blip2Network
from sightline.blip.qformer import QFormerLayer


class ItgConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What the library asks of a configuration."""

    model_type = "sightline_itg"

    vocab_size: int = 0
    use_cache: bool = False


class ItgLanguageModel(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """Next-word logits from the words so far and the queries' keys and values."""

    config_class = ItgConfig
    main_input_name = "input_ids"

    def __init__(self, network: Blip2Network, head: ItgHead) -> None:
        super().__init__(ItgConfig(vocab_size=network.config.qformer_config.vocab_size))
        self.network, self.head = network, head

    def forward(self, input_ids: Tensor, seen: Tensor, **_: Any) -> CausalLMOutput:
        """Logits ``[X,1,W]`` of the word after ``[X,L]``; ``seen`` is `seen_queries` of each row."""
        return CausalLMOutput(logits=word_logits(self.network, self.head, input_ids, seen, last=True))

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, seen: Tensor, **_: Any
    ) -> dict[str, Tensor]:
        """The library's own would cut the words to those that a cache lacks; there is none."""
        return {"input_ids": input_ids, "seen": seen}


@torch.no_grad()
def seen_queries(network: Blip2Network, patches_BPV: Tensor) -> Tensor:
    """Keys and values that words find in each layer's queries: ``[B,N,2,Q,H]``."""
    queries_BQH = network.qformer.layernorm(network.query_tokens.expand(len(patches_BPV), -1, -1))
    found = []
    for layer in _layers(network):
        attended = layer.attention.attention
        found.append(torch.stack([attended.key(queries_BQH), attended.value(queries_BQH)], dim=1))
        queries_BQH = layer(queries_BQH, queries_BQH.shape[1], patches_BPV, None)
    return torch.stack(found, dim=1)


@torch.no_grad()
def word_logits(
    network: Blip2Network, head: ItgHead, ids_XL: Tensor, seen_XN2QH: Tensor, last: bool = False
) -> Tensor:
    """Logits ``[X,L,W]`` of the words that follow each; ``last``: of the last one alone, ``[X,1,W]``."""
    count, length = seen_XN2QH.shape[3], ids_XL.shape[1]
    # A word's row of the mask: all queries, the words before it, and itself.
    mask = additive(multimodal_causal(count, length)[None, count:]).to(ids_XL.device)
    words_XLH = network.qformer.layernorm(network.embeddings(ids_XL))
    for layer, seen_X2QH in zip(_layers(network), seen_XN2QH.unbind(dim=1), strict=True):
        words_XLH = layer.feed_forward_text(_attend(layer, words_XLH, seen_X2QH, mask))
    words_XLH = words_XLH[:, -1:] if last else words_XLH
    return head(words_XLH, network.embeddings.word_embeddings.weight)  # type: ignore[no-any-return]


def _attend(layer: QFormerLayer, words_XLH: Tensor, seen_X2QH: Tensor, mask: Tensor) -> Tensor:
    attended = layer.attention.attention
    keys = torch.cat([seen_X2QH[:, 0], attended.key(words_XLH)], dim=1)
    values = torch.cat([seen_X2QH[:, 1], attended.value(words_XLH)], dim=1)
    query, key, value = (
        one.unflatten(2, (attended.heads, -1)).transpose(1, 2)
        for one in (attended.query(words_XLH), keys, values)
    )
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return layer.attention.output(out.transpose(1, 2).flatten(2), words_XLH)  # type: ignore[no-any-return]


def _layers(network: Blip2Network) -> list[QFormerLayer]:
    return [cast(QFormerLayer, one) for one in network.qformer.encoder.layer]
