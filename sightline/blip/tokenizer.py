"""Text to word-piece ids with the checkpoint's own tokenizer.

The tokenizer itself, never ``Blip2Processor(max_length=…)``, which subtracts the 32 query tokens
(docs/scoring.md, trap 1). What somebody writes is text throughout: ``[SEP]`` or ``<image>`` in it are
brackets and letters, never the special token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

from sightline.blip.checkpoint_files import read_json, refuse_pointer
from sightline.blip.headers import shown
from sightline.errors import CheckpointError, InputError

TEXT_LIMIT = 35
"""Text tokens at evaluation, [CLS] and [SEP] included (LAVIS; training truncates at 32)."""


_MOST_IDS: Final = 1 << 22
_MOST_CHARACTERS: Final = 1000
"""Of one word; BERT's tokenizers say 100."""
_STRUCTURE: Final = re.compile(r"\[.+\]|<.+>", re.DOTALL)
"""Words of a vocabulary that nobody means as words: ``[unused1]``, ``<image>``."""


@dataclass(frozen=True)
class Word:
    """One word of a text, ``text[start:end]``, and the ids of its pieces."""

    start: int
    end: int
    ids: list[int]


class TextTokenizer:
    """WordPiece with [CLS] and [SEP] around the text, and none of the special tokens inside."""

    def __init__(self, tokenizer: Tokenizer, limit: int = TEXT_LIMIT, rows: int | None = None) -> None:
        """``rows``: of the word embedding that the ids are for; None where there is none yet.

        Raises:
            CheckpointError: it is no BERT word-piece tokenizer, or it has ids beyond ``rows``.
        """
        self.limit = limit
        self._free = tokenizer
        self._free.no_padding()
        self._free.no_truncation()
        self.cls, self.sep, self.pad = (self._id(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
        self._rows = max(tokenizer.get_vocab().values()) + 1 if rows is None else rows
        dec = tokenizer.token_to_id("[DEC]")
        self.dec = dec if dec is not None and dec < self._rows else None
        """Id that starts a caption; None in tokenizers without it, or where the embedding has no such row."""
        self._plain, largest = _without_structure(tokenizer)
        self._check_rows(largest)
        self.unknown = int(self._plain.get_vocab()[self._plain.model.unk_token])
        """Id of what stands for a word that there are no pieces for."""

    def _id(self, name: str) -> int:
        found = self._free.token_to_id(name)
        if found is None:
            raise CheckpointError(
                f"The checkpoint's tokenizer has no {name} token; it is not a BERT word-piece one."
            )
        return int(found)

    def _check_rows(self, largest: int) -> None:
        """An id beyond the embedding fails a query on a CPU, and ends the process on a GPU."""
        largest = max(largest, self.cls, self.sep, self.pad, *self._plain.encode("").ids)
        if largest >= self._rows:
            raise CheckpointError(
                f"The tokenizer has a word with id {largest}, but the checkpoint's word embedding has "
                f"{self._rows} rows; take the tokenizer files and the weights of the same checkpoint."
            )

    @property
    def size(self) -> int:
        """Word pieces, special ones included."""
        return int(self._free.get_vocab_size())

    def ids(self, text: str) -> list[int]:
        """Ids of one text, cut to ``limit`` with [SEP] kept at the end; each is below the embedding's rows.

        Raises:
            InputError: the text is no valid Unicode.
        """
        found = self._encode(text)
        return found if len(found) <= self.limit else [*found[: self.limit - 1], self.sep]

    def length(self, text: str) -> int:
        """Tokens of one text before any cut, [CLS] and [SEP] included."""
        return len(self._encode(text))

    def beginning(self, text: str, limit: int) -> str:
        """As much of a text as ``limit`` tokens hold, [CLS] and [SEP] included."""
        self._encode(text)
        around = len(self._plain.encode("").ids)
        offsets: list[tuple[int, int]] = self._plain.encode(text, add_special_tokens=False).offsets
        kept = max(limit - around, 0)
        return text if len(offsets) <= kept else text[: offsets[kept - 1][1] if kept else 0]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token that `ids` keeps stands in the text, without [CLS] and [SEP]."""
        self._encode(text)
        around = len(self._plain.encode("").ids)
        offsets: list[tuple[int, int]] = self._plain.encode(text, add_special_tokens=False).offsets
        return offsets[: self.limit - around]

    def words(self, text: str) -> list[Word]:
        """The words of a text, whole, as the tokenizer parts it: at spaces, and around punctuation.

        Raises:
            InputError: the text is no valid Unicode.
        """
        self._encode(text)
        encoded = self._plain.encode(text, add_special_tokens=False)
        found: dict[int, Word] = {}
        numbers = [-1 if number is None else number for number in encoded.word_ids]
        for index, number, (start, end) in zip(encoded.ids, numbers, encoded.offsets, strict=True):
            before = found.get(number)
            ids = [index] if before is None else [*before.ids, index]
            found[number] = Word(start if before is None else before.start, end, ids)
        return list(found.values())

    def _encode(self, text: str) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError("The text is not valid Unicode; it has half a surrogate pair in it.") from error
        found: list[int] = self._plain.encode(text).ids
        if max(found, default=0) >= self._rows:
            raise CheckpointError(
                f"The tokenizer gave the id {max(found)}, but the word embedding has {self._rows} rows; take "
                "the tokenizer files and the weights of the same checkpoint."
            )
        return found

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


def load_tokenizer(folder: Path, limit: int = TEXT_LIMIT, rows: int | None = None) -> TextTokenizer:
    """From ``tokenizer.json``, else from ``vocab.txt`` and ``added_tokens.json`` as lower-casing BERT.

    ``rows``: of the word embedding.

    Raises:
        CheckpointError: neither file is there, what is there cannot be used, or it has ids beyond ``rows``.
    """
    if (folder / "tokenizer.json").exists():
        return TextTokenizer(_read_json(folder / "tokenizer.json"), limit, rows)
    vocabulary = folder / "vocab.txt"
    if not vocabulary.exists():
        raise CheckpointError(
            f"{folder} has neither tokenizer.json nor vocab.txt; copy the checkpoint's tokenizer files."
        )
    pieces = _read_vocabulary(vocabulary)
    added = _read_added(folder / "added_tokens.json", pieces)
    bert = BertWordPieceTokenizer(pieces | added, lowercase=_lowers(folder / "tokenizer_config.json"))
    tokenizer = Tokenizer.from_str(bert.to_str())
    tokenizer.add_special_tokens([word for word in added if _STRUCTURE.fullmatch(word)])
    return TextTokenizer(tokenizer, limit, rows)


def _read_vocabulary(vocabulary: Path) -> dict[str, int]:
    """Ids by word pieces, which are the lines."""
    try:
        # Lines end with "\n" alone: a word may be a character that Python also takes for a line's end.
        content = vocabulary.read_bytes()
        refuse_pointer(vocabulary, content[:64])
        lines = content.decode().removesuffix("\n").split("\n")
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{vocabulary} is no UTF-8 text; copy the checkpoint's tokenizer files."
        ) from error
    return {piece: index for index, piece in enumerate(lines)}


def _read_added(path: Path, pieces: Container[str]) -> dict[str, int]:
    """Words that stand beside the vocabulary, with their ids: a BLIP's [DEC] and [ENC]."""
    added = read_json(path) if path.exists() else {}
    for word, index in added.items():
        if type(index) is not int or not 0 <= index < _MOST_IDS or not word:
            raise CheckpointError(
                f"{path} gives {shown(word)} the id {shown(index)}; copy the checkpoint's own."
            )
    return {word: index for word, index in added.items() if word not in pieces}


def _lowers(path: Path) -> bool:
    return not path.exists() or read_json(path).get("do_lower_case") is not False


def _read_json(path: Path) -> Tokenizer:
    read_json(path)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(
            f"{path} cannot be read as a tokenizer ({error}); copy the checkpoint's tokenizer files again."
        ) from error


def _without_structure(tokenizer: Tokenizer) -> tuple[Tokenizer, int]:
    """The same, blind to special tokens, and its largest id. To it they are characters like others.

    ``encode_special_tokens`` of the library does not go so far: it leaves out tokens that are not marked
    special, and words like ``[unused1]`` that the vocabulary itself has.

    Raises:
        CheckpointError: its model is not one of word pieces, or its ids cannot be kept.
    """
    content = json.loads(tokenizer.to_str())
    model, added = content["model"], content["added_tokens"]
    if model.get("type") != "WordPiece" or model["unk_token"] not in model["vocab"]:
        raise CheckpointError(
            "The checkpoint's tokenizer has no word pieces, or no token for words that it does not know; it "
            "is not a BERT word-piece one."
        )
    words = [token for token in added if _is_word(token)]
    removed = {token["content"]: int(token["id"]) for token in added if not _is_word(token)}
    known = {word: int(index) for word, index in model["vocab"].items()}
    kept = {
        word: index for word, index in known.items() if not _is_structure(word, removed, model["unk_token"])
    }
    holes = sorted({*known.values(), *removed.values()} - set(kept.values()))
    # Ids stand for places: without a word for every id the library would number added words anew.
    longest = int(model["max_input_chars_per_word"])
    if longest > _MOST_CHARACTERS:
        raise CheckpointError(
            f"The checkpoint's tokenizer has {longest} as max_input_chars_per_word, where Sightline needs at "
            f"most {_MOST_CHARACTERS}; copy the checkpoint's own tokenizer.json."
        )
    model["vocab"] = kept | {f"{index:0{longest + 1}}": index for index in holes}
    content["added_tokens"] = words
    plain = Tokenizer.from_str(json.dumps(content))
    if any(plain.token_to_id(token["content"]) != token["id"] for token in words):
        raise CheckpointError(
            "The checkpoint's tokenizer has ids without a word; save it again without gaps."
        )
    return plain, max([*kept.values(), *(int(token["id"]) for token in words)])


def _is_word(token: dict[str, Any]) -> bool:
    """Whether an added token is a word that a fine-tuning taught, and not structure."""
    return not token["special"] and str(token["content"]).replace(" ", "").isalnum()


def _is_structure(word: str, removed: Container[str], unknown: str) -> bool:
    return word != unknown and (word in removed or _STRUCTURE.fullmatch(word) is not None)
