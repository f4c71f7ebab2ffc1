"""InstructBLIP (arXiv 2305.06500): captions, answers and yes or no, as an instruction asks.

The Q-Former reads the instruction too, so that what the language model sees of an image depends on it: what
is kept of an image are its patches. It has a tokenizer of its own, in ``qformer_tokenizer/``.

As a Matcher it is asked whether the image shows what the text says. The two logits are the log-likelihoods of
"no" and of "yes" as whole answers, less the logarithm of their sum: softmax over the two gives the
probability of yes against no, and their difference is the log-odds.
Shapes: B images · K pairs · P patches · V vision width · Q query tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.config_language import read_writer_config
from sightline.blip.language_writer import PROMPT_LIMIT, LanguageWriter, Prompt, one_each
from sightline.blip.latents import Latents
from sightline.blip.query_network import InstructedQueryNetwork, instructed_names
from sightline.blip.sampling import Sampling, SamplingName
from sightline.blip.tokenizer import load_tokenizer
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.weights import fill
from sightline.errors import InputError
from sightline.records import Precision

CAPTION_PROMPT = "A short image description:"
"""The paper's instruction for captions of NoCaps and Flickr30k (appendix E)."""
MATCH_PROMPT = 'Does this image show "{text}"? Answer yes or no:'
TEXT_LIMIT = 128
"""Most tokens of a text that is judged, as the Q-Former counts them (LAVIS: ``max_txt_len=128``)."""


class InstructBlip(LanguageWriter):
    """One checkpoint on one device: a Captioner, an Answerer and a Matcher."""

    features_are_patches: bool = True

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
        device_map: str | None = None,
    ) -> None:
        """As ``sightline.blip.load``; ``match_dtype`` is left aside: it judges as its language model does."""
        config = read_writer_config(folder, reads_instruction=True)
        super().__init__(folder, config, device, dtype, fingerprint, device_map)
        rows = config.qformer_config.vocab_size
        self.instructions = load_tokenizer(folder / "qformer_tokenizer", PROMPT_LIMIT, rows)
        with torch.device("meta"), Uninitialised():
            self.network = InstructedQueryNetwork(config, self.language.width)
        fill(self.network, instructed_names(self.tensors), dtype=torch.float32, device=self.device)

    @property
    def feature_shape(self) -> tuple[int, int]:
        """(P, V)."""
        return self.patch_shape

    def features(self, patches: Tensor | Latents) -> Tensor:
        """The patches ``[B,P,V]`` themselves, made whole where the cache compressed them."""
        whole = patches.to(self.device)
        return whole.patches() if isinstance(whole, Latents) else whole

    def sampling(self, name: SamplingName) -> Sampling:
        """Up to 30 tokens by 5 beams or a nucleus of 0.9, repetition penalty 1.5.

        Source: LAVIS ``blip2_vicuna_instruct.py``.
        """
        beams, top_p = 5 if name == "beam" else 1, 0.9 if name == "nucleus" else 1.0
        return Sampling(name, beams=beams, max_tokens=30, top_p=top_p, repetition_penalty=1.5)

    @property
    def default_prompt(self) -> str:
        """The instruction for a caption."""
        return CAPTION_PROMPT

    # -- Matcher

    @property
    def text_limit(self) -> int:
        """Most tokens of a text that count, as the Q-Former counts them."""
        around = self.instructions.length(MATCH_PROMPT.format(text="")) - 2
        return min(TEXT_LIMIT, self.config.qformer_config.max_position_embeddings - around)

    def is_truncated(self, text: str) -> bool:
        """Whether the end of ``text`` is beyond the limit and not looked at."""
        return self.instructions.length(text) > self.text_limit

    @property
    def matches_exactly(self) -> bool:
        """True: there is one precision, that of the language model, so ``fast`` is ``exact``."""
        return True

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """Logits ``[K,2]`` fp32 of no and yes, for 1 or K texts and the patches of K images."""
        if any(not text.strip() for text in texts):
            raise InputError("The text is empty; say in words what the picture should show.")
        counted = [self.instructions.beginning(text, self.text_limit) for text in texts]
        return self.yes_or_no([MATCH_PROMPT.format(text=text) for text in counted], patches)

    def yes_or_no(self, prompts: Sequence[str], patches: Tensor | Latents) -> Tensor:
        """Logits ``[K,2]`` fp32 of no and yes as answers to 1 or K prompts of any wording."""
        whole = self.features(patches)
        said_K2 = self.log_likelihoods(whole, one_each(prompts, len(whole)), ("no", "yes"))
        return said_K2.log_softmax(dim=1).to(self.device)

    def _caption_start(self, prompt: str | None) -> str:
        return ""  # an instruction is not the beginning of what it asks for

    def _prompt(self, text: str) -> Prompt:
        return Prompt(self.language.tokenizer.ids(text), self.instructions.ids(text))

    def _before(self, features: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        ids_BL = torch.tensor([one.instruction for one in prompts], device=self.device)
        return self.network.project(self.network.instructed_outputs(features, ids_BL))
