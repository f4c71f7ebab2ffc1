"""BLIP that writes: ``BlipForConditionalGeneration`` captions, ``BlipForQuestionAnswering`` answers.

The features of an image are its patches.
Shapes: B images · P patches · V vision width · K pairs · O options · L tokens of a question · H width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.blip_decoder import QuestionEncoder, TextDecoder
from sightline.blip.config_blip import read_blip_config
from sightline.blip.latents import Latents
from sightline.blip.precision import writer_dtype
from sightline.blip.retrieval import SeeingCheckpoint
from sightline.blip.sampling import Answer, Caption, Sampling, SamplingName
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import InputError

PROMPT = "a picture of"
"""How captions begin in training (salesforce/BLIP ``configs/caption_coco.yaml``)."""


class BlipWriter(SeeingCheckpoint):
    """What both have in common."""

    features_are_patches: bool = True

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
    ) -> None:
        """``match_dtype`` is of models that match, and left aside."""
        self.config = read_blip_config(folder)
        super().__init__(folder, self.config.vision_config, device, dtype, fingerprint)
        self.text_dtype = writer_dtype(dtype, self.device)
        self.tokenizer = load_tokenizer(folder, rows=self.config.text_config.vocab_size)

    @property
    def feature_shape(self) -> tuple[int, int]:
        """(P, V)."""
        return self.patch_shape

    def features(self, patches: Tensor | Latents) -> Tensor:
        """The patches ``[B,P,V]``, made whole where they are compressed."""
        return patches.patches() if isinstance(patches, Latents) else patches

    def _words(self, text: str, what: str) -> list[int]:
        """Ids of a text alone, without [CLS] and [SEP].

        Raises:
            InputError: its end would be left away.
        """
        count, limit = self.tokenizer.length(text), self.tokenizer.limit
        if count > limit:
            raise InputError(f"The {what} has {count} tokens; this model reads at most {limit}.")
        return self.tokenizer.ids(text)[1:-1]


class BlipCaptioner(BlipWriter):
    """One checkpoint on one device: a Captioner (blip/protocols.py)."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
    ) -> None:
        super().__init__(folder, device=device, dtype=dtype, match_dtype=match_dtype, fingerprint=fingerprint)
        text, width = self.config.text_config, self.config.vision_config.hidden_size
        self.decoder = TextDecoder(text, width, self.tensors, self.text_dtype, self.device)

    def sampling(self, name: SamplingName) -> Sampling:
        """3 beams, or a nucleus of 0.9 with a repetition penalty of 1.1; 10 to 30 tokens.

        Source: salesforce/BLIP ``models/blip.py`` ``generate``.
        """
        if name == "beam":
            return Sampling(name, beams=3, min_tokens=10, max_tokens=30)
        if name == "nucleus":
            return Sampling(name, top_p=0.9, repetition_penalty=1.1, min_tokens=10, max_tokens=30)
        return Sampling(name, min_tokens=10, max_tokens=30)

    def caption(
        self, features: Tensor, n: int, sampling: Sampling, prompt: str | None = None
    ) -> list[list[Caption]]:
        """``n`` captions for each of the ``[B,P,V]``, the likeliest first.

        ``prompt``: how they begin, and it stands before them; None begins as in training, "a picture of", and
        leaves that away. The probability is of what follows the prompt.

        Raises:
            InputError: more than one by ``greedy``, or a prompt that is too long.
        """
        before = f"{prompt.strip()} " if prompt and prompt.strip() else ""
        ids = self._words(PROMPT if prompt is None else prompt, "prompt")
        drafts = self.decoder.write(features, ids, n, sampling)
        return [
            [Caption(before + self.tokenizer.decode(one.ids), one.log_probability) for one in image]
            for image in drafts
        ]


class BlipAnswerer(BlipWriter):
    """One checkpoint on one device: an Answerer (blip/protocols.py).

    Works for any vision width; the stock model's decoder takes question states of the vision width only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
    ) -> None:
        super().__init__(folder, device=device, dtype=dtype, match_dtype=match_dtype, fingerprint=fingerprint)
        text = self.config.text_config
        self.encoder = QuestionEncoder(text, self.tensors, self.text_dtype, self.device)
        self.decoder = TextDecoder(text, text.hidden_size, self.tensors, self.text_dtype, self.device)

    def sampling(self, name: SamplingName) -> Sampling:
        """3 beams; at most 9 tokens after [DEC] (salesforce/BLIP ``models/blip_vqa.py``, ``generate``)."""
        top_p = 0.9 if name == "nucleus" else 1.0
        return Sampling(name, beams=3 if name == "beam" else 1, max_tokens=9, top_p=top_p)

    def answer(self, features: Tensor, prompts: Sequence[str], sampling: Sampling) -> list[Answer]:
        """One answer for each of the ``[K,P,V]``, to 1 or K questions.

        Raises:
            InputError: another number of questions, an empty one, or one that is too long.
        """
        found: dict[int, Answer] = {}
        for rows, states in self._read(features, prompts):
            drafts = self.decoder.write(states, [], 1, sampling)
            for row, (one,) in zip(rows, drafts, strict=True):
                probability = min(1.0, math.exp(one.log_probability))
                found[row] = Answer(self.tokenizer.decode(one.ids), probability)
        return [found[row] for row in range(len(features))]

    def log_likelihoods(self, features: Tensor, prompts: Sequence[str], options: Sequence[str]) -> Tensor:
        """``[K,O]`` fp32: log-probability of each option as the whole answer, its end included, in nats."""
        if not options:
            raise InputError("No option was given; name at least two.")
        ids = [self._words(one, "option") for one in options]
        found = torch.empty(len(features), len(options), device=self.device)
        for rows, states in self._read(features, prompts):
            found[rows] = self.decoder.log_likelihoods(states, ids)
        return found

    def _read(self, features: Tensor, prompts: Sequence[str]) -> Iterator[tuple[list[int], Tensor]]:
        """States of the questions ``[·,L,H]`` with the rows that they are of, one length after the other.

        Nothing is padded: the decoder would look at the states of padding too.
        """
        if len(prompts) not in (1, len(features)):
            raise InputError(f"Give 1 question, or {len(features)} for the images; not {len(prompts)}.")
        if any(not prompt.strip() for prompt in prompts):
            raise InputError("The question is empty; say in words what is asked about the picture.")
        first, last = self.config.text_config.enc_token_id, self.tokenizer.sep
        read = [[first, *self._words(one, "question"), last] for one in prompts]
        if len(prompts) == 1:
            read = read * len(features)
        by_length: dict[int, list[int]] = {}
        for row, ids in enumerate(read):
            by_length.setdefault(len(ids), []).append(row)
        for rows in by_length.values():
            ids_BL = torch.tensor([read[row] for row in rows], device=self.device)
            yield rows, self.encoder(ids_BL, features[rows])
