"""What the ``config.json`` of each released checkpoint says, as far as it decides on tensors.

These are facts and no copies. Salesforce/blip2-opt-2.7b, blip2-flan-t5-xl and blip-image-captioning-base were
read off public prints of the files (transformers 4.26 and 4.47 print them). The others follow from those and
from transformers' conversion scripts (``convert_blip_original_to_pytorch.py``,
``convert_blip_2_original_to_pytorch.py``, ``convert_instructblip_original_to_pytorch.py``), which say what
differs: the size of the image, the ViT of the large BLIP, and the language model, whose geometry is that of
facebook/opt-*, google/flan-t5-* and Vicuna; these were written down from memory of their configurations.
"""

from __future__ import annotations

from typing import Any

RETRIEVAL, CAPTIONING = "BlipForImageTextRetrieval", "BlipForConditionalGeneration"
LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
OPT = {
    "2.7b": {"hidden_size": 2560, "word_embed_proj_dim": 2560, "ffn_dim": 10240, "num_hidden_layers": 32},
    "6.7b": {"hidden_size": 4096, "word_embed_proj_dim": 4096, "ffn_dim": 16384, "num_hidden_layers": 32},
}
T5 = {
    "xl": {"d_model": 2048, "d_ff": 5120, "num_heads": 32},
    "xxl": {"d_model": 4096, "d_ff": 10240, "num_heads": 64},
}
VICUNA = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    "13b": {
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
    },
}


def _blip(architecture: str, large: bool) -> dict[str, Any]:
    return {
        "model_type": "blip",
        "architectures": [architecture],
        "image_text_hidden_size": 256,
        "text_config": {"model_type": "blip_text_model", "vocab_size": 30524, "num_attention_heads": 12},
        "vision_config": {"model_type": "blip_vision_model", "image_size": 384, "patch_size": 16}
        | (LARGE if large else {}),
    }


def _blip2(text: dict[str, Any], image_size: int = 224, image_token: int | None = None) -> dict[str, Any]:
    return {
        "model_type": "blip-2",
        "architectures": ["Blip2ForConditionalGeneration"],
        "num_query_tokens": 32,
        "image_token_index": image_token,
        "qformer_config": {"model_type": "blip_2_qformer"},
        "vision_config": {"model_type": "blip_2_vision_model", "image_size": image_size},
        "text_config": text,
    }


def _itm(image_size: int) -> dict[str, Any]:
    qformer = {"model_type": "blip_2_qformer", "vocab_size": 30523, "use_qformer_text_input": True}
    made = _blip2({"model_type": "opt"}, image_size) | {
        "qformer_config": qformer,
        "image_text_hidden_size": 256,
    }
    return made | {"architectures": ["Blip2ForImageTextRetrieval"]}


def _opt(size: str) -> dict[str, Any]:
    said = {"model_type": "opt", "vocab_size": 50304, "num_attention_heads": 32, "eos_token_id": 50118}
    return said | OPT[size]


def _t5(size: str) -> dict[str, Any]:
    said = {"model_type": "t5", "vocab_size": 32128, "d_kv": 64, "num_layers": 24, "num_decoder_layers": 24}
    return said | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} | T5[size]


def _instructblip(text: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "instructblip",
        "architectures": ["InstructBlipForConditionalGeneration"],
        "num_query_tokens": 32,
        "qformer_config": {"model_type": "instructblip_qformer", "vocab_size": 30523},
        "vision_config": {"model_type": "instructblip_vision_model", "image_size": 224},
        "text_config": text,
    }


def _vicuna(size: str) -> dict[str, Any]:
    said = {"model_type": "llama", "vocab_size": 32001, "tie_word_embeddings": False}
    return said | {"num_attention_heads": 32 if size == "7b" else 40} | VICUNA[size]


CONFIGS: dict[str, dict[str, Any]] = (
    {
        f"Salesforce/blip-itm-{size}-{tuned}": _blip(RETRIEVAL, size == "large")
        for size in ("base", "large")
        for tuned in ("coco", "flickr")
    }
    | {
        f"Salesforce/blip-image-captioning-{size}": _blip(CAPTIONING, size == "large")
        for size in ("base", "large")
    }
    | {"Salesforce/blip-vqa-base": _blip("BlipForQuestionAnswering", False)}
    | {"Salesforce/blip2-itm-vit-g": _itm(224), "Salesforce/blip2-itm-vit-g-coco": _itm(364)}
    | {
        f"Salesforce/blip2-opt-{size}{tuned}": _blip2(_opt(size), side, 50265)
        for size in ("2.7b", "6.7b")
        for tuned, side in (("", 224), ("-coco", 364))
    }
    | {f"Salesforce/blip2-flan-t5-{size}": _blip2(_t5(size), 224, 32100) for size in ("xl", "xxl")}
    | {f"Salesforce/instructblip-flan-t5-{size}": _instructblip(_t5(size)) for size in ("xl", "xxl")}
    | {f"Salesforce/instructblip-vicuna-{size}": _instructblip(_vicuna(size)) for size in ("7b", "13b")}
)
"""``config.json`` by name on the hub."""
