"""Dimensions and token ids of a BLIP checkpoint, read from its ``config.json`` without transformers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sightline.blip.checkpoint import Dimensions, read_config_json
from sightline.blip.config import VisionConfig
from sightline.blip.config_values import count, pick, section
from sightline.errors import CheckpointError

BLIP: Final = "blip"
"""What ``config.json`` calls a BLIP."""
RETRIEVAL: Final = "BlipForImageTextRetrieval"
CAPTIONING: Final = "BlipForConditionalGeneration"
ANSWERING: Final = "BlipForQuestionAnswering"


@dataclass(frozen=True)
class BlipVisionConfig(VisionConfig):
    """The ViT. Defaults are transformers' ``BlipVisionConfig``, which checkpoints leave out when equal."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    image_size: int = 384
    patch_size: int = 16
    layer_norm_eps: float = 1e-5


@dataclass(frozen=True)
class BlipTextConfig:
    """The text encoder or decoder. Defaults are transformers' ``BlipTextConfig``."""

    vocab_size: int = 30524
    hidden_size: int = 768
    encoder_hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 512
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    bos_token_id: int = 30522
    pad_token_id: int = 0
    sep_token_id: int = 102

    @property
    def enc_token_id(self) -> int:
        """[ENC], which stands for [CLS] where a text meets patches.

        No file of transformers' format names it: the reference adds [DEC] to BERT's vocabulary and [ENC]
        after it (salesforce/BLIP ``models/blip.py`` ``init_tokenizer``), and [DEC] is ``bos_token_id``.
        """
        return self.bos_token_id + 1


@dataclass(frozen=True)
class BlipConfig:
    """A whole BLIP of any of the three architectures."""

    vision_config: BlipVisionConfig = field(default_factory=BlipVisionConfig)
    text_config: BlipTextConfig = field(default_factory=BlipTextConfig)
    image_text_hidden_size: int = 256
    architecture: str = RETRIEVAL

    @property
    def dimensions(self) -> Dimensions:
        """P and V; with Q = 1 and D where it embeds."""
        vision = self.vision_config
        shape = (vision.num_patches, vision.hidden_size)
        if self.architecture != RETRIEVAL:
            return Dimensions(shape)
        return Dimensions(shape, 1, self.image_text_hidden_size)

    def to_json(self) -> dict[str, Any]:
        """``config.json`` in transformers' format."""
        vision = {name: value for name, value in asdict(self.vision_config).items() if name != "qkv_bias"}
        return {
            "architectures": [self.architecture],
            "model_type": BLIP,
            "vision_config": {"model_type": "blip_vision_model", **vision},
            "text_config": {"model_type": "blip_text_model", **asdict(self.text_config)},
            "image_text_hidden_size": self.image_text_hidden_size,
        }


def read_blip_config(folder: Path) -> BlipConfig:
    """Read ``config.json``.

    Raises:
        CheckpointError: the file is missing, is no BLIP, or leaves no row for [DEC] and [ENC].
    """
    raw = read_config_json(folder)
    if raw.get("model_type") != BLIP:
        raise CheckpointError(
            f"{folder} holds a model of type {raw.get('model_type')!r}; this needs a BLIP checkpoint."
        )
    vision = pick(BlipVisionConfig, section(raw, "vision_config"))
    text_raw = {**section(raw, "text_config"), "encoder_hidden_size": vision.hidden_size}
    text = pick(BlipTextConfig, text_raw)
    named = raw.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else RETRIEVAL
    needed = text.enc_token_id if architecture != CAPTIONING else text.bos_token_id
    if needed >= text.vocab_size:
        raise CheckpointError(
            f"{folder}: the word embedding has {text.vocab_size} rows, but [DEC] and [ENC] are the ids "
            f"{text.bos_token_id} and {text.enc_token_id}; take vocab_size and bos_token_id of the original."
        )
    return BlipConfig(vision, text, count(raw, "image_text_hidden_size", 256), architecture)
