"""What writes captions and answers: dimensions of released checkpoints, and stock models of them.

How speed and computation are compared over them is in `benchmarks.captions`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Geometry:
    """A released checkpoint's dimensions, and how much is asked and answered."""

    name: str
    text: dict[str, Any]
    instructed: bool
    prompt: int
    new: int
    what: str
    vision_layers: int = 39


OPT = Geometry(
    "opt-2.7b",
    {
        "model_type": "opt",
        "vocab_size": 50304,
        "hidden_size": 2560,
        "word_embed_proj_dim": 2560,
        "ffn_dim": 10240,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "eos_token_id": 50118,
    },
    instructed=False,
    prompt=4,
    new=10,
    what="caption",
)
T5 = Geometry(
    "flan-t5-xl",
    {
        "model_type": "t5",
        "vocab_size": 32128,
        "d_model": 2048,
        "d_kv": 64,
        "d_ff": 5120,
        "num_layers": 24,
        "num_decoder_layers": 24,
        "num_heads": 32,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
        "eos_token_id": 1,
    },
    instructed=False,
    prompt=12,
    new=3,
    what="answer",
)
VICUNA = Geometry(
    "vicuna-7b",
    {
        "model_type": "llama",
        "vocab_size": 32001,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        "eos_token_id": 2,
    },
    instructed=True,
    prompt=12,
    new=10,
    what="answer",
)
GEOMETRIES = {one.name: one for one in (OPT, T5, VICUNA)}


def small(geometry: Geometry) -> Geometry:
    """The same kind, small enough for a test."""
    sizes = {
        "opt": {"hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 128, "num_attention_heads": 4},
        "t5": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_heads": 4},
        "llama": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4},
    }
    text = {**geometry.text, **sizes[geometry.text["model_type"]]}
    return shallow(Geometry(geometry.name, text, geometry.instructed, 4, 3, geometry.what), 1)


def shallow(geometry: Geometry, layers: int) -> Geometry:
    """The same with ``layers`` of the ViT and of the language model."""
    names = {"num_hidden_layers", "num_layers", "num_decoder_layers"} & set(geometry.text)
    given = {**asdict(geometry), "text": {**geometry.text, **dict.fromkeys(names, layers)}}
    return Geometry(**{**given, "vision_layers": layers})


def stock_model(geometry: Geometry) -> Any:
    """transformers' model on the meta device."""
    import transformers as stock

    config_kind = stock.InstructBlipConfig if geometry.instructed else stock.Blip2Config
    kind = stock.Blip2ForConditionalGeneration
    if geometry.instructed:
        kind = stock.InstructBlipForConditionalGeneration
    config = config_kind(
        vision_config={"num_hidden_layers": geometry.vision_layers},
        qformer_config={"vocab_size": 30523},
        text_config=geometry.text,
        image_token_index=geometry.text["vocab_size"] - 1,
    )
    with torch.device("meta"):
        made: Any = kind(config)
    return made.eval().requires_grad_(False)
