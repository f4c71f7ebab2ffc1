"""What a user would do instead: stock transformers with given weights, and the LAVIS loop on its Q-Former.

The loop is that of salesforce/LAVIS ``blip2_qformer.py`` (``compute_sim_matrix`` and ``compute_itm``) for one
text: features on the host, the text padded to 35 tokens and repeated, all candidates in one batch.
Shapes: B images · K candidates · L text length · P patches · V vision width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sightline.blip.config import Blip2Config
from sightline.blip.network import Blip2Network


def stock_model(config: Blip2Config, network: Blip2Network, with_vision: bool) -> Any:
    """transformers' model in float32 with ``network``'s Q-Former and heads; its ViT, if any, is noise."""
    from transformers import Blip2Config as StockConfig
    from transformers import Blip2ForImageTextRetrieval

    raw = config.to_json()
    if not with_vision:
        raw["vision_config"]["num_hidden_layers"] = 0
    with torch.device("meta"):
        stock: Any = Blip2ForImageTextRetrieval(StockConfig(**raw))
    stock.to_empty(device="cpu").eval().requires_grad_(False)
    stock.config.image_token_index = None
    for name, buffer in stock.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
    _fill_with_noise(stock.vision_model)
    stock.load_state_dict(network.state_dict(), strict=False)
    return stock


def _fill_with_noise(module: torch.nn.Module) -> None:
    """Draw a million numbers and repeat them: a billion would take longer than what is measured."""
    noise = 0.02 * torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))
    for parameter in module.parameters():
        flat = parameter.data.view(-1)
        for start in range(0, len(flat), len(noise)):
            part = flat[start : start + len(noise)]
            part.copy_(noise[: len(part)])


def lavis_loop(stock: Any, features_KPV: Tensor, ids_1L: Tensor, length: int) -> Tensor:
    """Logits ``[K,2]``, averaged over the queries."""
    count, device = len(features_KPV), stock.query_tokens.device
    patches = features_KPV.to(device, stock.query_tokens.dtype)
    ids = torch.zeros(count, length, dtype=torch.int64, device=device)
    valid = torch.zeros(count, length, dtype=torch.int64, device=device)
    ids[:, : ids_1L.shape[1]], valid[:, : ids_1L.shape[1]] = ids_1L, 1
    queries = stock.query_tokens.expand(count, -1, -1)
    seen = torch.ones(queries.shape[:2], dtype=torch.int64, device=device)
    out = stock.qformer(
        query_embeds=stock.embeddings(input_ids=ids, query_embeds=queries),
        query_length=queries.shape[1],
        attention_mask=torch.cat([seen, valid], dim=1),
        encoder_hidden_states=patches,
        encoder_attention_mask=torch.ones(patches.shape[:2], dtype=torch.int64, device=device),
    )
    logits: Tensor = stock.itm_head(out[0][:, : queries.shape[1]]).mean(dim=1)
    return logits.float()


def stock_forward(stock: Any, pixels_B3SS: Tensor, ids_1L: Tensor) -> Tensor:
    """Logits ``[B,2]`` of the stock forward: every image through the ViT, then the Q-Former."""
    ids = ids_1L.expand(len(pixels_B3SS), -1)
    logits: Tensor = stock(
        pixel_values=pixels_B3SS,
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        use_image_text_matching_head=True,
    ).logits_per_image
    return logits
