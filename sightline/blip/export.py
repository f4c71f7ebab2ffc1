"""Write a checkpoint in transformers' format: what ``Blip2ForImageTextRetrieval.from_pretrained`` loads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from sightline.blip.itg import ItgHead, save_itg_head
from sightline.blip.network import Blip2Network
from sightline.blip.pixels import PixelConfig
from sightline.blip.tokenizer import TextTokenizer

IMAGE_TOKEN = "<image>"


def save_checkpoint(
    folder: Path,
    network: Blip2Network,
    head: ItgHead | None,
    tokenizer: TextTokenizer,
    pixels: PixelConfig,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write config, weights, tokenizer and processor files.

    The ITG head goes beside the model (blip/itg.py). The ``<image>`` token gets the id after the last word
    embedding, as in Salesforce/blip2-itm-vit-g: the stock forward strips it before any look-up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = network.config.qformer_config.vocab_size
    config = {
        **network.config.to_json(),
        "image_token_index": vocab_size,
        "dtype": str(dtype).removeprefix("torch."),
    }
    _write_json(folder / "config.json", config)
    tensors = {
        name: value.detach().to("cpu", dtype).contiguous() for name, value in network.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if head is not None:
        save_itg_head(folder, head, dtype)
    _write_tokenizer(folder, tokenizer, vocab_size)
    _write_processor(folder, network.config.num_query_tokens, pixels)


def _write_tokenizer(folder: Path, tokenizer: TextTokenizer, vocab_size: int) -> None:
    from tokenizers import AddedToken, Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_json())
    copy.add_special_tokens([AddedToken(IMAGE_TOKEN, normalized=False, special=True)])
    if copy.token_to_id(IMAGE_TOKEN) != vocab_size:
        raise ValueError(f"{IMAGE_TOKEN} got id {copy.token_to_id(IMAGE_TOKEN)}, expected {vocab_size}")
    copy.save(str(folder / "tokenizer.json"), pretty=False)
    special = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": 512,
            "bos_token": "[DEC]",
            **special,
        },
    )


def _write_processor(folder: Path, num_query_tokens: int, pixels: PixelConfig) -> None:
    _write_json(
        folder / "processor_config.json",
        {"processor_class": "Blip2Processor", "num_query_tokens": num_query_tokens},
    )
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "BlipImageProcessor",
            "processor_class": "Blip2Processor",
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": list(pixels.mean),
            "image_std": list(pixels.std),
            "resample": 3,
            "rescale_factor": 1 / 255,
            "size": {"height": pixels.side, "width": pixels.side},
        },
    )


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
