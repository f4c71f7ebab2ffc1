"""Instructions and answers as the batches that stage 2 and instruction tuning learn from.

Texts become the ids that they become when the model writes (sightline/blip/language_tokenizer.py), and the
answer's are the labels (LAVIS ``blip2_vicuna_instruct.py`` ``concat_text_input_output``). Shapes: B rows ·
P patches · V vision width · J instruction for the Q-Former · L language tokens · D decoder tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.blip.language_tokenizer import LanguageTokenizer
from sightline.blip.tokenizer import TextTokenizer, pad
from sightline.training.answering import IGNORED, AnswerBatch


@dataclass(frozen=True)
class Packer:
    """Makes batches.

    ``image`` is the id of the placeholder, of which there are ``queries`` in front; ``end`` ends an answer.
    ``qformer`` is None where the Q-Former reads no instruction (BLIP-2). What goes beyond the limits is cut.
    """

    words: LanguageTokenizer
    qformer: TextTokenizer | None
    image: int
    queries: int
    end: int
    pad: int
    decoder_only: bool = True
    text_limit: int = 128
    answer_limit: int = 64

    def pack(self, patches: Tensor, instructions: Sequence[str], answers: Sequence[str]) -> AnswerBatch:
        """One batch of B rows; ``patches`` ``[B,P,V]``."""
        prompts = [self._prompt(text) for text in instructions]
        ends = [self._answer(*both) for both in zip(instructions, answers, strict=True)]
        qformer_ids, qformer_valid = self._for_qformer(instructions)
        rows, labels = prompts, ends
        if self.decoder_only:
            rows = [[*prompt, *end] for prompt, end in zip(prompts, ends, strict=True)]
            labels = [[IGNORED] * len(prompt) + end for prompt, end in zip(prompts, ends, strict=True)]
        ids = pad_right(rows, self.pad)
        valid = pad_right([[1] * len(row) for row in rows], 0)
        return AnswerBatch(patches, qformer_ids, qformer_valid, ids, valid, pad_right(labels, IGNORED))

    def _prompt(self, text: str) -> list[int]:
        ids = self.words.ids(text)
        cut = ids[: self.text_limit] if self.decoder_only else [*ids[:-1][: self.text_limit - 1], ids[-1]]
        return [*[self.image] * self.queries, *cut]

    def _answer(self, instruction: str, answer: str) -> list[int]:
        follows = self.decoder_only and bool(instruction)
        ids = self.words.option_ids(instruction, answer) if follows else self.words.answer_ids(answer)
        return [*ids[: self.answer_limit - 1], self.end]

    def _for_qformer(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        if self.qformer is None:
            empty = torch.zeros(len(instructions), 0, dtype=torch.int64)
            return empty, empty
        return pad([self.qformer.ids(text) for text in instructions], self.qformer.pad)


def pad_right(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """``[B,L]`` of the longest row."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
