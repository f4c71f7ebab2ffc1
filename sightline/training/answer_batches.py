"""Instructions and answers as the batches that stage 2 and instruction tuning learn from.

Instruction and answer are cut into tokens apart from each other, and the answer's are the labels (LAVIS
``blip2_vicuna_instruct.py`` ``concat_text_input_output``). Shapes: B rows · J instruction for the Q-Former ·
L language tokens · D decoder tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.blip.tokenizer import TextTokenizer, pad
from sightline.training.answering import IGNORED, AnswerBatch


@dataclass(frozen=True)
class LanguageTokens:
    """How texts become ids of the language model.

    ``encode`` adds no special tokens. ``begin`` stands before an instruction and ``after`` behind it; ``end`` ends
    an answer; ``image`` is the placeholder, of which there are ``queries``.
    """

    encode: Callable[[str], list[int]]
    begin: tuple[int, ...]
    after: tuple[int, ...]
    end: int
    pad: int
    image: int
    queries: int
    decoder_only: bool = True
    answer_space: str = ""
    """Put before an answer that follows an instruction: a space where the tokenizer keeps spaces (OPT, LLaMA no)."""


@dataclass(frozen=True)
class Packer:
    """Makes batches; ``qformer`` is None where the Q-Former reads no instruction (BLIP-2)."""

    tokens: LanguageTokens
    qformer: TextTokenizer | None
    text_limit: int = 128
    answer_limit: int = 64

    def pack(self, patches: Tensor, instructions: Sequence[str], answers: Sequence[str]) -> AnswerBatch:
        """One batch of B rows; ``patches`` ``[B,P,V]``."""
        tokens = self.tokens
        prompts = [self._prompt(text) for text in instructions]
        ends = [self._answer(text, bool(before)) for text, before in zip(answers, instructions, strict=True)]
        qformer_ids, qformer_valid = self._for_qformer(instructions)
        if tokens.decoder_only:
            rows = [[*prompt, *end] for prompt, end in zip(prompts, ends, strict=True)]
            labels = [[IGNORED] * len(prompt) + end for prompt, end in zip(prompts, ends, strict=True)]
        else:
            rows, labels = prompts, ends
        ids = pad_right(rows, tokens.pad)
        valid = pad_right([[1] * len(row) for row in rows], 0)
        return AnswerBatch(patches, qformer_ids, qformer_valid, ids, valid, pad_right(labels, IGNORED))

    def _prompt(self, text: str) -> list[int]:
        tokens = self.tokens
        written = tokens.encode(text)[: self.text_limit]
        return [*[tokens.image] * tokens.queries, *tokens.begin, *written, *tokens.after]

    def _answer(self, text: str, follows: bool) -> list[int]:
        spaced = self.tokens.answer_space + text if follows else text
        return [*self.tokens.encode(spaced)[: self.answer_limit], self.tokens.end]

    def _for_qformer(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        if self.qformer is None:
            empty = torch.zeros(len(instructions), 0, dtype=torch.int64)
            return empty, empty
        return pad([self.qformer.ids(text) for text in instructions], self.qformer.pad)


def pad_right(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """``[B,L]`` of the longest row."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
