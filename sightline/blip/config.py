"""Dimensions of a BLIP-2 checkpoint, read from its ``config.json`` without importing transformers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sightline.blip.checkpoint import Dimensions, read_config_json
from sightline.blip.config_values import count, section
from sightline.blip.config_values import pick as pick
from sightline.errors import CheckpointError

MODEL_TYPES = ("blip-2", "blip_2")
"""What ``config.json`` calls a BLIP-2."""


@dataclass(frozen=True)
class VisionConfig:
    """The ViT. Defaults are transformers' ``Blip2VisionConfig``, which checkpoints leave out when equal."""

    hidden_size: int = 1408
    intermediate_size: int = 6144
    num_hidden_layers: int = 39
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 14
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    qkv_bias: bool = True

    @property
    def num_patches(self) -> int:
        """Grid cells and the class patch: P."""
        return (self.image_size // self.patch_size) ** 2 + 1


@dataclass(frozen=True)
class QFormerConfig:
    """The Q-Former. Defaults are transformers' ``Blip2QFormerConfig``."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    cross_attention_frequency: int = 2
    encoder_hidden_size: int = 1408
    use_qformer_text_input: bool = False


@dataclass(frozen=True)
class Blip2Config:
    """A whole BLIP-2 retrieval model."""

    vision_config: VisionConfig = field(default_factory=VisionConfig)
    qformer_config: QFormerConfig = field(default_factory=QFormerConfig)
    num_query_tokens: int = 32
    image_text_hidden_size: int = 256

    @property
    def dimensions(self) -> Dimensions:
        """P and V, Q, D."""
        vision = self.vision_config
        shape = (vision.num_patches, vision.hidden_size)
        return Dimensions(shape, self.num_query_tokens, self.image_text_hidden_size)

    def to_json(self) -> dict[str, Any]:
        """``config.json`` in transformers' format, for ``Blip2ForImageTextRetrieval.from_pretrained``."""
        return {
            "architectures": ["Blip2ForImageTextRetrieval"],
            "model_type": "blip-2",
            "vision_config": {"model_type": "blip_2_vision_model", **asdict(self.vision_config)},
            "qformer_config": {"model_type": "blip_2_qformer", **asdict(self.qformer_config)},
            # transformers builds a text config whatever the model; the smallest one keeps the file honest.
            "text_config": {"model_type": "opt"},
            "num_query_tokens": self.num_query_tokens,
            "image_text_hidden_size": self.image_text_hidden_size,
        }


def read_config(folder: Path) -> Blip2Config:
    """Read ``config.json``.

    Raises:
        CheckpointError: the file is missing, is no BLIP-2, or lacks the Q-Former's text weights.
    """
    raw = read_config_json(folder)
    if raw.get("model_type") not in MODEL_TYPES:
        raise CheckpointError(
            f"{folder} holds a model of type {raw.get('model_type')!r}; this needs a BLIP-2 ITM checkpoint."
        )
    vision = pick(VisionConfig, section(raw, "vision_config"))
    qformer_raw = {**section(raw, "qformer_config"), "encoder_hidden_size": vision.hidden_size}
    qformer = pick(QFormerConfig, qformer_raw)
    if not qformer.use_qformer_text_input:
        raise CheckpointError(
            f"{folder} is a stage-2 checkpoint whose Q-Former has no text weights, so it cannot embed text; "
            "use Salesforce/blip2-itm-vit-g or blip2-itm-vit-g-coco."
        )
    tokens, joint = count(raw, "num_query_tokens", 32), count(raw, "image_text_hidden_size", 256)
    return Blip2Config(vision, qformer, tokens, joint)
