"""Random checkpoints for parity and speed, never for quality.

transformers initialises query tokens and all biases to zero: every query token of an image is then identical,
and max against mean, or a mistake in a bias, cannot be seen. Here every parameter is drawn
(docs/scoring.md, "Random checkpoints").
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from sightline.blip.config import Blip2Config, QFormerConfig, VisionConfig
from sightline.blip.export import save_checkpoint
from sightline.blip.itg import ItgHead
from sightline.blip.network import Blip2Network
from sightline.blip.pixels import PixelConfig
from sightline.blip.tokenizer import TextTokenizer

WORDS = "a an the of on in with and two three red blue green dog cat car house beach tree bird left right"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *WORDS.split(), *LETTERS[1:], *(f"##{letter}" for letter in LETTERS)]


def small_config() -> Blip2Config:
    """A geometry that runs in milliseconds, with the real number of query tokens and joint dimensions."""
    vision = VisionConfig(48, 96, 3, 4, image_size=32, patch_size=8)
    return Blip2Config(
        vision,
        QFormerConfig(
            vocab_size=len(PIECES) + 1,
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=64,
            encoder_hidden_size=48,
            use_qformer_text_input=True,
        ),
    )


def full_config(image_size: int = 224) -> Blip2Config:
    """The geometry of Salesforce/blip2-itm-vit-g (224 px) and -coco (364 px)."""
    vision = VisionConfig(image_size=image_size)
    return Blip2Config(vision, QFormerConfig(vocab_size=30523, use_qformer_text_input=True))


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Draw every parameter: matrices at the scale of their fan-in, vectors visibly off their defaults."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.empty(parameter.shape, dtype=torch.float32).normal_(generator=generator)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1.0 + 0.1 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.1 * noise)
            elif parameter.ndim == 2:
                parameter.copy_(noise / parameter.shape[1] ** 0.5)
            else:
                parameter.copy_(noise * (0.5 if "token" in name else 0.05))


def bert_tokenizer(words: int, last: str | None = None) -> Tokenizer:
    """A small word-piece tokenizer, filled up with unused pieces; ``last`` is a special one, or none."""
    special = [] if last is None else [last]
    filler = [f"[unused{index}]" for index in range(words - len(special) - len(PIECES))]
    vocabulary = {piece: index for index, piece in enumerate([*PIECES, *filler, *special])}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    around = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *special])
    return tokenizer


def word_tokenizer(vocab_size: int) -> TextTokenizer:
    """A small word-piece vocabulary, filled up with unused pieces, [DEC] last."""
    return TextTokenizer(bert_tokenizer(vocab_size, "[DEC]"))


def write_random_checkpoint(folder: Path, config: Blip2Config | None = None, seed: int = 0) -> Path:
    """Save a random checkpoint in transformers' format, fp32, with an ITG head; returns the folder."""
    config = config or small_config()
    network, head = Blip2Network(config), ItgHead(config.qformer_config)
    randomise(network, seed)
    randomise(head, seed + 1)
    tokenizer = word_tokenizer(config.qformer_config.vocab_size)
    save_checkpoint(folder, network, head, tokenizer, PixelConfig(config.vision_config.image_size))
    return folder
