"""Small tokenizers of the kinds that language models come with, for random checkpoints.

Each is of its kind in all that matters to whoever reads texts: byte-level BPE with the start in front (OPT),
Unigram with the end behind (T5), BPE over "▁" with bytes for what it does not know (LLaMA).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, digits

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SENTENCES = (
    "a photo of a red dog on the beach",
    "a photo of two blue cars and a house with a tree on the left",
    "Question: what colour is the bird? Short answer: green",
    "Question: how many cats are there? Short answer: three",
    "Does this image show a red house? Answer yes or no.",
    "A short image description: there is a cat in the tree",
)
IMAGE = "<image>"


@dataclass(frozen=True)
class Words:
    """A tokenizer and what ``tokenizer_config.json`` says about it."""

    tokenizer: Tokenizer
    kind: str
    """The class that transformers has for it."""
    start: str
    end: str
    pad: str
    unknown: str

    def id(self, token: str) -> int:
        """The id of a token that it has."""
        found = self.tokenizer.token_to_id(token)
        assert found is not None
        return int(found)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / "tokenizer.json"))
        named = {"bos_token": self.start, "eos_token": self.end, "pad_token": self.pad}
        content = {"tokenizer_class": self.kind, **named, "unk_token": self.unknown, "model_max_length": 512}
        (folder / "tokenizer_config.json").write_text(json.dumps(content, indent=2) + "\n")


def opt_words() -> Words:
    """As OPT's: bytes, "</s>" in front; "\\n" is "Ċ"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, *(f" {one}" for one in SENTENCES)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    tokenizer.add_special_tokens([AddedToken(IMAGE, normalized=False, special=True)])
    return Words(tokenizer, "GPT2Tokenizer", "</s>", "</s>", "<pad>", "</s>")


def t5_words() -> Words:
    """As T5's: pieces with scores, "</s>" behind; the special pieces stand in the vocabulary themselves."""
    pieces = ["▁", *sorted({f"▁{word}" for one in SENTENCES for word in one.split()})]
    seen = {letter for one in SENTENCES for letter in one if letter != " "}
    letters = sorted(seen | set(f"<>/_[]{digits}{ascii_lowercase}"))
    extra = [f"<extra_id_{number}>" for number in reversed(range(3))]
    special = ["<pad>", "</s>", "<unk>"]
    scores = {**dict.fromkeys(special, 0.0), **dict.fromkeys(pieces, -4.0), **dict.fromkeys(letters, -6.0)}
    vocabulary = [*scores.items(), *((name, 0.0) for name in extra)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens([*special, *extra, AddedToken(IMAGE, normalized=False, special=True)])
    return Words(tokenizer, "T5Tokenizer", "<pad>", "</s>", "<pad>", "<unk>")


def llama_words() -> Words:
    """As Vicuna's in InstructBLIP: "▁" for spaces, "</s>" in front, [PAD] and <image> added at the end."""
    special, octets = ["<unk>", "<s>", "</s>"], [f"<0x{number:02X}>" for number in range(256)]
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    trainer = trainers.BpeTrainer(vocab_size=440, special_tokens=[*special, *octets], show_progress=False)
    learned.train_from_iterator(SENTENCES, trainer)
    model = json.loads(learned.to_str())["model"]
    merges = [(str(one), str(other)) for one, other in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(model["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([*special, "[PAD]", AddedToken(IMAGE, normalized=False, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return Words(tokenizer, "LlamaTokenizer", "</s>", "</s>", "[PAD]", "</s>")
