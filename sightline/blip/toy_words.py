"""The toy that writes: captions and answers that can be worked out by hand (see sightline/blip/toy.py).

It sees what the toy sees, patches ``[5,6]``, and its features are its query outputs, as a BLIP-2's of stage
2: the four quadrants' colours, ``[B,4,3]``. Each quadrant is called by the nearest word of ``COLOURS`` (least
sum of squares, the earlier word on a tie).

Captions
    the n-th is about the n-th quadrant (top left, top right, bottom left, bottom right, then again): "red top
    left". A nucleus with an odd seed tells the colour of the next quadrant instead: such draws may be wrong,
    which is what CapFilt is there for. log-probability: −n, counted from 1. A prompt stands before it.
Answers
    "how many COLOUR …" the number of such quadrants; a question with a colour word "yes" when a quadrant has
    it, else "no" (with places, "red top left", the quadrants that lie there); "what colour … PLACES" the
    colour of the first quadrant there; anything else "I do not know". Probability: 0.75, for "I do not know"
    0.25. Log-likelihood of an option: −0.1 when it is that answer (case aside), else −3 − 0.1 a letter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightline.blip.latents import Latents
from sightline.blip.sampling import Answer, Caption, Sampling, SamplingName
from sightline.blip.toy import COLOURS, PLACES, QUADRANTS, ToyMatcher, words
from sightline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Names version 1 of the formulas above: change it with them.
FINGERPRINT = "toy-words-1-2f0c1b6d7ce04a0fa1f6f1f2a5d2b3c4e5f60718293a4b5c6d7e8f90"
NAMES = ("top left", "top right", "bottom left", "bottom right")
UNKNOWN = "I do not know"


class ToyWriter(ToyMatcher):
    """Captioner and Answerer with formulas instead of weights; CPU, fp32, thread-safe."""

    fingerprint: str = FINGERPRINT
    features_are_patches: bool = False
    feature_shape: tuple[int, int] = (4, 3)

    def features(self, patches: Tensor | Latents) -> Tensor:
        """``[B,5,6]`` to the colours of the quadrants ``[B,4,3]``."""
        whole = patches.patches() if isinstance(patches, Latents) else patches
        return whole[:, 1:, :3].to(torch.float32)

    def sampling(self, name: SamplingName) -> Sampling:
        """As BLIP's: three beams, or a nucleus of 0.9."""
        return Sampling(name, beams=3 if name == "beam" else 1, top_p=0.9 if name == "nucleus" else 1.0)

    def caption(
        self, features: Tensor, n: int, sampling: Sampling, prompt: str | None = None
    ) -> list[list[Caption]]:
        """``n`` captions for each of the ``[B,4,3]``."""
        if n < 1 or (n > 1 and sampling.name == "greedy"):
            raise InputError("Greedy sampling gives one caption; take beam or nucleus for more.")
        wrong = sampling.name == "nucleus" and sampling.seed is not None and sampling.seed % 2 == 1
        before = f"{prompt} " if prompt else ""
        return [
            [
                Caption(f"{before}{colours[(at + wrong) % 4]} {NAMES[at % 4]}", -float(at + 1))
                for at in range(n)
            ]
            for colours in map(_colours, features)
        ]

    def answer(self, features: Tensor, prompts: Sequence[str], sampling: Sampling) -> list[Answer]:
        """One answer for each of the ``[K,4,3]``, to 1 or K prompts."""
        return [
            Answer(text := _answer(prompt, _colours(one)), 0.25 if text == UNKNOWN else 0.75)
            for prompt, one in zip(_one_each(prompts, len(features)), features, strict=True)
        ]

    def log_likelihoods(self, features: Tensor, prompts: Sequence[str], options: Sequence[str]) -> Tensor:
        """``[K,O]`` of the options as answers."""
        if not options:
            raise InputError("No option was given; name at least two.")
        rows = []
        for prompt, one in zip(_one_each(prompts, len(features)), features, strict=True):
            right = _answer(prompt, _colours(one)).lower()
            rows.append([-0.1 if option.lower() == right else -3 - 0.1 * len(option) for option in options])
        return torch.tensor(rows, dtype=torch.float32).reshape(len(features), len(options))


def _one_each(prompts: Sequence[str], count: int) -> Sequence[str]:
    if len(prompts) not in (1, count):
        raise InputError(f"Give 1 question, or {count} for the images; not {len(prompts)}.")
    return list(prompts) * count if len(prompts) == 1 else prompts


def _colours(quadrants_43: Tensor) -> list[str]:
    names = list(COLOURS)
    known = torch.tensor([COLOURS[name] for name in names])
    nearest = (quadrants_43[:, None] - known[None]).square().sum(dim=2).argmin(dim=1)
    return [names[int(at)] for at in nearest]


def _answer(prompt: str, colours: Sequence[str]) -> str:
    asked = words(prompt)
    places = [PLACES[word] for word in asked if word in PLACES]
    rows = [
        row
        for row, quadrant in enumerate(QUADRANTS)
        if all(want in (0, have) for place in places for want, have in zip(place, quadrant, strict=True))
    ] or list(range(4))
    colour = next((word for word in asked if word in COLOURS), None)
    if re.search(r"\bhow many\b", prompt.lower()) and colour:
        return str(sum(colours[row] == colour for row in rows))
    if colour:
        return "yes" if any(colours[row] == colour for row in rows) else "no"
    return colours[rows[0]] if "colour" in asked or "color" in asked else UNKNOWN
