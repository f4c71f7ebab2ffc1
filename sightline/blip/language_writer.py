"""What BLIP-2 of stage 2 and InstructBLIP have in common: a prompt behind an image, in a language model.

Rows of a batch have prompts of one length, so that nothing is padded and each comes out as if alone.
Shapes: B images · K pairs · F, W features of one image · Q query tokens · O options.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.config_language import WriterConfig
from sightline.blip.generation import Draft, check_count
from sightline.blip.language_model import load_language
from sightline.blip.precision import writer_dtype
from sightline.blip.retrieval import SeeingCheckpoint
from sightline.blip.sampling import Answer, Caption, Sampling
from sightline.errors import InputError

_AT_ONCE = {"cpu": 40, "cuda": 320}
"""Texts that are written, or options that are read, together: images times beams."""
PROMPT_LIMIT = 512
"""Most tokens of a prompt, where the model's positions do not end before."""
OPTION_LIMIT = 64
"""Most tokens of an option, its end included."""


@dataclass(frozen=True)
class Prompt:
    """A prompt as the language model reads it, and as the Q-Former does: empty where that reads none."""

    ids: list[int]
    instruction: list[int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of one shape make a batch."""
        return len(self.ids), len(self.instruction)


class LanguageWriter(SeeingCheckpoint, ABC):
    """A Captioner and Answerer (blip/protocols.py) by a language model."""

    def __init__(
        self,
        folder: Path,
        config: WriterConfig,
        device: str | None,
        dtype: str | None,
        fingerprint: str | None,
        device_map: str | None,
    ) -> None:
        super().__init__(folder, config.vision_config, device, dtype, fingerprint)
        self.config = config
        kind = writer_dtype(dtype, self.device)
        self.language = load_language(folder, config, self.tensors, kind, self.device, device_map)

    @property
    @abstractmethod
    def default_prompt(self) -> str:
        """What captions were published with."""

    @abstractmethod
    def _prompt(self, text: str) -> Prompt:
        """A prompt's ids."""

    @abstractmethod
    def _before(self, features: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """What stands before the prompts, of one shape: ``[B,Q,·]``, in the language model's width."""

    @abstractmethod
    def _caption_start(self, prompt: str | None) -> str:
        """What of a prompt belongs to the caption."""

    # -- Captioner

    def caption(
        self, features: Tensor, n: int, sampling: Sampling, prompt: str | None = None
    ) -> list[list[Caption]]:
        """``n`` captions for each of the ``[B,F,W]``: of ``beam`` the search's best first, of ``nucleus`` the
        likeliest. ``prompt`` None: `default_prompt`. The probability is of what follows the prompt.

        Raises:
            InputError: more than one by ``greedy``, or a prompt that is too long.
        """
        check_count(n, sampling)
        text = self.default_prompt if prompt is None else prompt
        rows = self._write(features, [text] * len(features), n, sampling)
        before = self._caption_start(prompt)
        return [
            [Caption(before + self.language.decode(one.ids), one.log_probability) for one in row]
            for row in rows
        ]

    # -- Answerer

    def answer(self, features: Tensor, prompts: Sequence[str], sampling: Sampling) -> list[Answer]:
        """One answer for each of the ``[K,F,W]``, to 1 or K prompts.

        Raises:
            InputError: another number of prompts, or one that is too long.
        """
        rows = self._write(features, one_each(prompts, len(features)), 1, sampling)
        return [
            Answer(self.language.decode(row[0].ids), min(1.0, math.exp(row[0].log_probability)))
            for row in rows
        ]

    @torch.inference_mode()
    def log_likelihoods(self, features: Tensor, prompts: Sequence[str], options: Sequence[str]) -> Tensor:
        """``[K,O]`` fp32, nats: of each option as the whole answer, its end included, to 1 or K prompts.

        Raises:
            InputError: no option, another number of prompts, or something that is too long.
        """
        if not options:
            raise InputError("No option was given; name at least two.")
        texts = one_each(prompts, len(features))
        found = torch.empty(len(features), len(options))
        for rows, group, before in self._groups(features, texts, len(options), OPTION_LIMIT):
            answers = [[self._option(texts[row], option) for option in options] for row in rows]
            ids = [one.ids for one in group]
            found[rows] = self.language.log_likelihoods(before, ids, answers).cpu()
        return found

    def _option(self, prompt: str, option: str) -> list[int]:
        words = self.language.tokenizer
        ids = words.option_ids(prompt, option) if self.language.decoder_only else words.answer_ids(option)
        if len(ids) >= OPTION_LIMIT:
            raise InputError(f"An option has {len(ids)} tokens; at most {OPTION_LIMIT - 1} are read.")
        return [*ids, self.language.ends[0]]

    @torch.inference_mode()
    def _write(self, features: Tensor, texts: Sequence[str], n: int, sampling: Sampling) -> list[list[Draft]]:
        found: dict[int, list[Draft]] = {}
        beams = max(n, sampling.beams if sampling.name == "beam" else 1)
        for rows, group, before in self._groups(features, texts, beams, sampling.max_tokens):
            written = self.language.write(before, [one.ids for one in group], n, sampling.of(rows))
            found.update(zip(rows, written, strict=True))
        return [found[row] for row in range(len(features))]

    def _groups(
        self, features: Tensor, texts: Sequence[str], each: int, room: int
    ) -> Iterator[tuple[list[int], list[Prompt], Tensor]]:
        """Rows with prompts of one shape, their prompts, and what stands before these.

        ``each``: texts of a row at once; ``room``: tokens that follow.
        """
        known = {text: self._checked(text, room) for text in dict.fromkeys(texts)}
        shapes: dict[tuple[int, int], list[int]] = {}
        for row, text in enumerate(texts):
            shapes.setdefault(known[text].shape, []).append(row)
        at_once = max(1, _AT_ONCE.get(self.device.type, _AT_ONCE["cpu"]) // each)
        for all_rows in shapes.values():
            for start in range(0, len(all_rows), at_once):
                rows = all_rows[start : start + at_once]
                group = [known[texts[row]] for row in rows]
                few = features[rows].to(self.device, torch.float32)
                yield rows, group, self._before(few, group)

    def _checked(self, text: str, room: int) -> Prompt:
        prompt, limit = self._prompt(text), self._limit(room)
        if len(prompt.ids) > limit:
            raise InputError(f"The prompt has {len(prompt.ids)} tokens; this model reads at most {limit}.")
        most = self.config.qformer_config.max_position_embeddings
        if len(prompt.instruction) > most:
            raise InputError(
                f"The prompt has {len(prompt.instruction)} tokens for the Q-Former, which reads at most "
                f"{most}."
            )
        return prompt

    def _limit(self, room: int) -> int:
        """Most tokens of a prompt before ``room`` others."""
        positions = int(self.config.text_config.get("max_position_embeddings", 2048))
        return min(PROMPT_LIMIT, positions - self.config.num_query_tokens - room)


def one_each(prompts: Sequence[str], count: int) -> list[str]:
    """A prompt for each of ``count`` images. Raises InputError: neither 1 was given nor ``count``."""
    if len(prompts) not in (1, count):
        raise InputError(f"Give 1 question, or {count} for the images; not {len(prompts)}.")
    return list(prompts) * count if len(prompts) == 1 else list(prompts)
