"""The demo model that answers, in InstructBLIP's format: what stock transformers and Sightline load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from demo.training.language import END, PAD, UNKNOWN
from sightline.blip.config import read_config
from sightline.training.answer_weights import QFORMER_TOKENIZER

if TYPE_CHECKING:
    from transformers import InstructBlipForConditionalGeneration

PROCESSOR = "InstructBlipProcessor"
MOST_NEW_TOKENS = 30


def save_asking(
    folder: Path, model: InstructBlipForConditionalGeneration, words: Tokenizer, retrieval: Path
) -> None:
    """Write weights (fp16), configuration, both tokenizers and the retrieval model's processor."""
    model.generation_config.max_new_tokens = MOST_NEW_TOKENS
    model.half().save_pretrained(folder)  # type: ignore[no-untyped-call]
    (folder / "model.safetensors").chmod(0o644)  # the library leaves it to its owner alone
    words.save(str(folder / "tokenizer.json"), pretty=False)
    named = {"bos_token": END, "eos_token": END, "pad_token": PAD, "unk_token": UNKNOWN}
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "GPT2Tokenizer", **named, "model_max_length": 512},
    )
    image = json.loads((retrieval / "preprocessor_config.json").read_text())
    _write(folder / "preprocessor_config.json", {**image, "processor_class": PROCESSOR})
    queries = model.config.num_query_tokens
    _write(folder / "processor_config.json", {"processor_class": PROCESSOR, "num_query_tokens": queries})
    _copy_qformer_tokenizer(retrieval, folder / QFORMER_TOKENIZER, _rows(retrieval))


def _copy_qformer_tokenizer(retrieval: Path, folder: Path, rows: int) -> None:
    """The retrieval model's, without the placeholder, for which the Q-Former has no row."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads((retrieval / "tokenizer.json").read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < rows]
    Tokenizer.from_str(json.dumps(content)).save(str(folder / "tokenizer.json"), pretty=False)
    shutil.copyfile(retrieval / "tokenizer_config.json", folder / "tokenizer_config.json")


def _rows(retrieval: Path) -> int:
    return read_config(retrieval).qformer_config.vocab_size


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
