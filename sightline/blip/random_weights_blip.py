"""Random BLIP checkpoints of the three kinds, each in exactly the hub's format.

For parity and speed, never for quality: every parameter is drawn (sightline/blip/random_weights.py). As on
the hub, the tokenizer is BERT's own: it has neither [DEC] nor [ENC], whose ids only ``bos_token_id`` tells.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from sightline.blip.config_blip import (
    ANSWERING,
    CAPTIONING,
    BlipConfig,
    BlipTextConfig,
    BlipVisionConfig,
)
from sightline.blip.network_blip import BlipNetwork
from sightline.blip.random_weights import PIECES, bert_tokenizer, randomise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def small_blip_config(text_width: int = 64) -> BlipConfig:
    """A geometry that runs in milliseconds; [DEC] and [ENC] follow the words, as in BLIP's vocabulary."""
    vision = BlipVisionConfig(48, 96, 3, 4, image_size=32, patch_size=8)
    text = BlipTextConfig(
        vocab_size=len(PIECES) + 2,
        hidden_size=text_width,
        encoder_hidden_size=48,
        intermediate_size=2 * text_width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=len(PIECES),
        sep_token_id=PIECES.index("[SEP]"),
    )
    return BlipConfig(vision, text, 32)


def full_blip_config(large: bool = False) -> BlipConfig:
    """The geometry of Salesforce/blip-itm-base-coco at 384 px, or of blip-itm-large-coco."""
    vision = BlipVisionConfig(1024, 4096, 24, 16) if large else BlipVisionConfig()
    text = BlipTextConfig(num_attention_heads=12, encoder_hidden_size=vision.hidden_size)
    return BlipConfig(vision, text)


def write_random_blip(folder: Path, config: BlipConfig | None = None, seed: int = 0) -> Path:
    """Save a random ``BlipForImageTextRetrieval``, fp32; returns the folder."""
    config = config or small_blip_config()
    network = BlipNetwork(config)
    randomise(network, seed)
    return _save(folder, config, network.state_dict())


def write_random_blip_captioner(folder: Path, config: BlipConfig | None = None, seed: int = 0) -> Path:
    """Save a random ``BlipForConditionalGeneration``, fp32; returns the folder."""
    from transformers import BlipForConditionalGeneration

    config = replace(config or small_blip_config(), architecture=CAPTIONING)
    return _save(folder, config, _random_stock(BlipForConditionalGeneration, config, seed))


def write_random_blip_answerer(folder: Path, config: BlipConfig | None = None, seed: int = 0) -> Path:
    """Save a random ``BlipForQuestionAnswering``, fp32; returns the folder.

    Its text encoder looks at patches and its decoder at the question's states, each of its own width.
    """
    from transformers import BlipForQuestionAnswering

    config = replace(config or small_blip_config(48), architecture=ANSWERING)
    tensors = _random_stock(BlipForQuestionAnswering, config, seed)
    return _save(folder, config, tensors | _other_width(config, tensors, seed))


def _random_stock(kind: Any, config: BlipConfig, seed: int) -> dict[str, Tensor]:
    """Every parameter of transformers' model, drawn; tied ones are there once, as in saved files."""
    from transformers import BlipConfig as StockConfig

    model = kind(StockConfig(**config.to_json()))
    randomise(model, seed)
    return dict(model.named_parameters())


def _other_width(config: BlipConfig, tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Keys and values of the decoder's cross-attention, from states of the text's width."""
    width = config.text_config.hidden_size
    names = [name for name in tensors if name.startswith("text_decoder.") and "crossattention.self" in name]
    generator = torch.Generator().manual_seed(seed + 1)
    return {
        name: torch.randn(width, width, generator=generator) / width**0.5
        for name in names
        if name.endswith(("key.weight", "value.weight"))
    }


def _save(folder: Path, config: BlipConfig, tensors: Mapping[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    held = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", config.to_json())
    text = config.text_config
    bert_tokenizer(text.bos_token_id).save(str(folder / "tokenizer.json"), pretty=False)
    special = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "SEP", "PAD", "CLS", "MASK")}
    named = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    _write(folder / "tokenizer_config.json", named | special)
    side = config.vision_config.image_size
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "BlipImageProcessor",
            "processor_class": "BlipProcessor",
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "resample": 3,
            "rescale_factor": 1 / 255,
            "size": {"height": side, "width": side},
        },
    )
    return folder


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
