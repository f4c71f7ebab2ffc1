"""The image encoder: a pre-norm ViT.

Modules are named as in transformers 5.23 ``models/blip_2/modeling_blip_2.py`` (``Blip2VisionModel``), so a
checkpoint's tensors load by name. Shapes: B images · S side · P patches · V width · N heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.blip.activations import activation
from sightline.blip.config import VisionConfig


class VisionEmbeddings(nn.Module):
    """Pixels to patches: a strided convolution, a class patch in front, learned positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
        self.position_embedding = nn.Parameter(torch.zeros(1, config.num_patches, config.hidden_size))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)  # [B,P-1,V]
        first = self.class_embedding.expand(len(pixels), -1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding  # [B,P,V]


class VisionAttention(nn.Module):
    """Self-attention with one joint projection to queries, keys and values."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.projection = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])  # [B,N,P,V/N]
        return self.projection(out.transpose(1, 2).reshape(batch, length, width))  # type: ignore[no-any-return]


class VisionMLP(nn.Module):
    """Two linear layers around an activation, GELU in released checkpoints."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.activation_name = config.hidden_act
        self.activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))  # type: ignore[no-any-return]


class VisionLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.self_attn = VisionAttention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))  # type: ignore[no-any-return]


class VisionEncoder(nn.Module):
    """The stack of layers; its own module only because checkpoints name it."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers))


class VisionModel(nn.Module):
    """ViT with the post-layernorm applied: ``[B,3,S,S]`` pixels to ``[B,P,V]`` patches."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.encoder = VisionEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.some_layers(self.embeddings(pixels), len(self.encoder.layers))
        return self.post_layernorm(x)  # type: ignore[no-any-return]

    def some_layers(self, x: Tensor, count: int) -> Tensor:
        """The first ``count`` layers alone."""
        for layer in self.encoder.layers[:count]:
            x = layer(x)
        return x
