"""Text to word-piece ids with the checkpoint's own tokenizer.

The tokenizer itself, never ``Blip2Processor(max_length=…)``, which subtracts the 32 query tokens
(docs/scoring.md, trap 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

from sightline.errors import CheckpointError

TEXT_LIMIT = 35
"""Text tokens at evaluation, [CLS] and [SEP] included (LAVIS; training truncates at 32)."""


class TextTokenizer:
    """WordPiece with [CLS] and [SEP] around the text."""

    def __init__(self, tokenizer: Tokenizer, limit: int = TEXT_LIMIT) -> None:
        self.limit = limit
        self._free = tokenizer
        self._free.no_padding()
        self._free.no_truncation()
        self.cls, self.sep, self.pad = (self._id(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
        self.dec = tokenizer.token_to_id("[DEC]")
        """Id that starts a caption; None in tokenizers without it."""

    def _id(self, name: str) -> int:
        found = self._free.token_to_id(name)
        if found is None:
            raise CheckpointError(
                f"The checkpoint's tokenizer has no {name} token; it is not a BERT word-piece one."
            )
        return int(found)

    @property
    def size(self) -> int:
        """Word pieces, special ones included."""
        return int(self._free.get_vocab_size())

    def ids(self, text: str) -> list[int]:
        """Ids of one text, cut to ``limit`` with [SEP] kept at the end."""
        found: list[int] = self._free.encode(text).ids
        return found if len(found) <= self.limit else [*found[: self.limit - 1], self.sep]

    def length(self, text: str) -> int:
        """Tokens of one text before any cut, [CLS] and [SEP] included."""
        return len(self._free.encode(text).ids)

    def batch(self, texts: Sequence[str], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Ids ``[T,L]`` padded to the longest, and 0/1 ``[T,L]`` where real."""
        return pad([self.ids(text) for text in texts], self.pad, device)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text without special tokens."""
        return str(self._free.decode([int(i) for i in ids], skip_special_tokens=True))

    def to_json(self) -> str:
        """The content of ``tokenizer.json``."""
        return str(self._free.to_str(pretty=False))


def pad(
    rows: Sequence[Sequence[int]], value: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Rows of ids to ``[T,L]`` int64 and 0/1 ``[T,L]``."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), value, dtype=torch.int64)
    valid = torch.zeros((len(rows), width), dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        valid[index, : len(row)] = 1
    return ids.to(device), valid.to(device)


def load_tokenizer(folder: Path, limit: int = TEXT_LIMIT) -> TextTokenizer:
    """From ``tokenizer.json``, else from ``vocab.txt`` as lower-casing BERT.

    Raises:
        CheckpointError: neither file is there.
    """
    if (folder / "tokenizer.json").exists():
        return TextTokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")), limit)
    vocabulary = folder / "vocab.txt"
    if not vocabulary.exists():
        raise CheckpointError(
            f"{folder} has neither tokenizer.json nor vocab.txt; copy the checkpoint's tokenizer files."
        )
    pieces = [line.rstrip("\n") for line in vocabulary.read_text().splitlines()]
    bert = BertWordPieceTokenizer({piece: index for index, piece in enumerate(pieces)}, lowercase=True)
    return TextTokenizer(Tokenizer.from_str(bert.to_str()), limit)
