"""Random checkpoints that write: BLIP-2 of stage 2 and InstructBLIP, each in exactly the hub's format.

For parity and speed, never for quality: every parameter is drawn (sightline/blip/random_weights.py). The
modules are transformers' own, so that what stock expects is what lies in the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sightline.blip.random_weights import PIECES, randomise, word_tokenizer

if TYPE_CHECKING:
    from sightline.blip.random_tokenizers import Words

LanguageKind = Literal["opt", "t5", "llama"]
QUERIES = 6
"""Query tokens of a small checkpoint: not the real 32, so that a 32 in the code is noticed."""
SIDE = 32
QFORMER_WORDS = len(PIECES) + 1


def write_random_blip2_writer(folder: Path, language: LanguageKind = "opt", seed: int = 0) -> Path:
    """A random ``Blip2ForConditionalGeneration`` (OPT or T5), fp32; returns the folder."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    words = _words(language)
    config = Blip2Config(
        vision_config=_vision("blip_2_vision_model"),
        qformer_config=_qformer("blip_2_qformer"),
        text_config=_text(language, words),
        num_query_tokens=QUERIES,
        image_token_index=words.id("<image>"),
    )
    _save(folder, Blip2ForConditionalGeneration(config), words, seed, "Blip2Processor")
    return folder


def write_random_instructblip(folder: Path, language: LanguageKind = "t5", seed: int = 0) -> Path:
    """A random ``InstructBlipForConditionalGeneration`` (T5, LLaMA or OPT), fp32; returns the folder."""
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    words = _words(language)
    config = InstructBlipConfig(
        vision_config=_vision("instructblip_vision_model"),
        qformer_config=_qformer("instructblip_qformer"),
        text_config=_text(language, words),
        num_query_tokens=QUERIES,
        image_token_index=words.id("<image>"),
    )
    _save(folder, InstructBlipForConditionalGeneration(config), words, seed, "InstructBlipProcessor")
    _save_qformer_tokenizer(folder / "qformer_tokenizer")
    return folder


def _words(language: LanguageKind) -> Words:
    from sightline.blip import random_tokenizers

    makers = {
        "opt": random_tokenizers.opt_words,
        "t5": random_tokenizers.t5_words,
        "llama": random_tokenizers.llama_words,
    }
    return makers[language]()


def _vision(model_type: str) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": 8,
    }


def _qformer(model_type: str) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "vocab_size": QFORMER_WORDS,
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 128,
        "encoder_hidden_size": 48,
    }


def _text(language: LanguageKind, words: Words) -> dict[str, Any]:
    """``text_config`` with the facts of the released ones: what ends a text, what is tied."""
    rows = words.tokenizer.get_vocab_size() + 5
    if language == "opt":
        return {
            "model_type": "opt",
            "vocab_size": rows,
            "hidden_size": 40,
            "word_embed_proj_dim": 40,
            "ffn_dim": 80,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 256,
            "bos_token_id": words.id("</s>"),
            "pad_token_id": words.id("<pad>"),
            "eos_token_id": words.id("Ċ"),
        }
    if language == "t5":
        return {
            "model_type": "t5",
            "vocab_size": rows,
            "d_model": 40,
            "d_kv": 10,
            "d_ff": 80,
            "num_layers": 2,
            "num_decoder_layers": 2,
            "num_heads": 4,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 1,
            "pad_token_id": 0,
            "decoder_start_token_id": 0,
        }
    return {
        "model_type": "llama",
        "vocab_size": rows,
        "hidden_size": 40,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "bos_token_id": words.id("</s>"),
        "eos_token_id": words.id("</s>"),
        "pad_token_id": words.id("[PAD]"),
        "tie_word_embeddings": False,
    }


def _save(folder: Path, model: Any, words: Words, seed: int, processor: str) -> None:
    randomise(model, seed)
    # Loud enough that another image gives other words.
    model.language_projection.weight.data.mul_(4.0)
    model.save_pretrained(folder)
    words.save(folder)
    image = {
        "image_processor_type": "BlipImageProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    _write_json(folder / "preprocessor_config.json", {**image, "processor_class": processor})
    named = {"processor_class": processor, "num_query_tokens": QUERIES}
    _write_json(folder / "processor_config.json", named)


def _save_qformer_tokenizer(folder: Path) -> None:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(word_tokenizer(QFORMER_WORDS).to_json())
    named = {name: f"[{name[:-6].upper()}]" for name in ("unk_token", "sep_token", "pad_token", "cls_token")}
    content = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, **named}
    _write_json(folder / "tokenizer_config.json", {**content, "mask_token": "[MASK]", "bos_token": "[DEC]"})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
