"""Text to a language model's ids and back.

The tokenizer is the checkpoint's own, as transformers makes it of its files. What somebody writes is text
throughout: ``</s>`` or ``<image>`` in it are letters, never the special token (docs/scoring.md, trap 1).
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from sightline.errors import CheckpointError, InputError

_NEVER: Final = "\uffff" * 8
"""Stands in for a special piece among those that are found in a text; U+FFFF is no character."""


class LanguageTokenizer:
    """The start of a text where the model has one, its pieces, its end where an encoder reads it."""

    def __init__(self, tokenizer: Tokenizer, rows: int) -> None:
        """``rows``: of the word embedding that the ids are for.

        Raises:
            CheckpointError: its pieces are of an unknown kind, or it has none.
        """
        self._free = tokenizer
        self._free.no_padding()
        self._free.no_truncation()
        self._plain = without_special(tokenizer)
        self._rows = rows

    def ids(self, text: str) -> list[int]:
        """Ids of one text with the special tokens around it; each is below the embedding's rows.

        Raises:
            InputError: the text is no valid Unicode.
            CheckpointError: an id is beyond the rows.
        """
        return self._encode(text, around=True)

    def option_ids(self, prompt: str, option: str) -> list[int]:
        """Ids of ``option`` as what follows ``prompt``: the same text written in one go, where that can be
        cut between the two."""
        before, whole = self.ids(prompt), self.ids(f"{prompt} {option}")
        if whole[: len(before)] == before and len(whole) > len(before):
            return whole[len(before) :]
        return self._encode(option, around=False)

    def answer_ids(self, option: str) -> list[int]:
        """Ids of ``option`` as a text of its own, for a decoder beside an encoder; its end is not added."""
        return self._encode(option, around=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text without special tokens, and without spaces around it."""
        return str(self._free.decode(list(ids), skip_special_tokens=True)).strip()

    def _encode(self, text: str, *, around: bool) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError("The text is not valid Unicode; it has half a surrogate pair in it.") from error
        found: list[int] = self._plain.encode(text, add_special_tokens=around).ids
        if max(found, default=0) >= self._rows:
            raise CheckpointError(
                f"The tokenizer gave the id {max(found)}, but the language model's word embedding has "
                f"{self._rows} rows; take the tokenizer files and the weights of the same checkpoint."
            )
        return found


def load_language_tokenizer(folder: Path, rows: int) -> LanguageTokenizer:
    """From the tokenizer files at the top of a checkpoint.

    Raises:
        CheckpointError: they are missing or cannot be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        # Never with code from the folder. Said, for the library would ask whoever sits at the terminal.
        made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises what it likes
        raise CheckpointError(_unreadable(folder, type(error).__name__)) from error
    if not isinstance(made, PreTrainedTokenizerFast):
        raise CheckpointError(_unreadable(folder, "no tokenizer.json"))
    return LanguageTokenizer(Tokenizer.from_str(made.backend_tokenizer.to_str()), rows)


def _unreadable(folder: Path, why: str) -> str:
    return f"{folder} has no readable tokenizer for its language model ({why}); copy its tokenizer files."


def without_special(tokenizer: Tokenizer) -> Tokenizer:
    """The same, blind to special tokens: to it they are characters like others.

    ``encode_special_tokens`` of the library does not go so far: it leaves out tokens that are not marked
    special, and special pieces that stand in the vocabulary itself, as T5's do.

    Raises:
        CheckpointError: pieces of a kind that is not known, or words that would get other ids.
    """
    content = json.loads(tokenizer.to_str())
    words = [token for token in content["added_tokens"] if _is_word(token)]
    removed = {token["content"] for token in content["added_tokens"] if not _is_word(token)}
    model = content["model"]
    if model.get("type") == "Unigram":
        model["vocab"] = _unreachable(model["vocab"], removed)
    elif model.get("type") == "BPE":
        model["merges"] = [pair for pair in model["merges"] if _merged(pair) not in removed]
    else:
        raise CheckpointError(
            f"The language model's tokenizer has pieces of the kind {model.get('type')}; those that are read "
            "are BPE and Unigram."
        )
    plain = Tokenizer.from_str(json.dumps({**content, "added_tokens": words}))
    if any(plain.token_to_id(token["content"]) != token["id"] for token in words):
        raise CheckpointError(
            "The language model's tokenizer has ids without a word; save it again without gaps."
        )
    return plain


def _is_word(token: dict[str, Any]) -> bool:
    """Whether an added token is a word that a fine-tuning taught, and not structure."""
    return not token["special"] and str(token["content"]).replace(" ", "").isalnum()


def _unreachable(pieces: Sequence[tuple[str, float]], removed: Container[str]) -> list[list[object]]:
    return [
        [f"{_NEVER}{index}" if piece in removed else piece, score]
        for index, (piece, score) in enumerate(pieces)
    ]


def _merged(pair: str | Sequence[str]) -> str:
    parts = pair.split(" ") if isinstance(pair, str) else pair
    return "".join(parts)
