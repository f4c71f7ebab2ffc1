"""Words from a language model of transformers: its search, our draws, and the probability of what came out.

The library searches (greedily, or with beams). Draws are made here, because the library's depend on who else
is in the batch: each draw of an image has a row of random numbers of its own, by the seed, the image's number
(`Sampling.images`) and which draw of the image it is, so that an image gets the same texts in whatever batch
it is (up to a number that falls on the rounding of another batch's sums). Without numbers of the images they
share these rows: equal images get equal texts.

Probabilities are the model's own, of the tokens that came out, before anything that a way of choosing does
to them (temperature, nucleus, penalties).
Shapes: B images · n texts an image · R = B·n rows · X rows of the search (B·beams) · S steps · L tokens of
the prompt · V vocabulary.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from sightline.blip.sampling import Sampling
from sightline.errors import InputError


@dataclass(frozen=True)
class Draft:
    """What a language model wrote: new tokens, without the one that ended it, and the logarithm of their
    probability, the end included."""

    ids: list[int]
    log_probability: float


def check_count(n: int, sampling: Sampling) -> None:
    """Raises InputError: ``n`` texts cannot be had in this way."""
    if n < 1:
        raise InputError(f"{n} captions cannot be written; ask for at least 1.")
    if n > 1 and sampling.name == "greedy":
        raise InputError("Greedy sampling gives one caption; take beam or nucleus for more.")


@torch.inference_mode()
def write(
    model: Any, inputs: Mapping[str, Any], n: int, sampling: Sampling, ends: Sequence[int], pad: int
) -> list[list[Draft]]:
    """``n`` texts for each image.

    Args:
        model: of transformers, with ``generate``.
        inputs: what ``generate`` is given, a row for each of the B images: of a decoder its prompt as
            ``input_ids`` ``[B,L]``, embedded or not; of an encoder and decoder ``encoder_outputs``.
        ends: ids that end a text.
        pad: the id that fills rows that ended.

    Returns:
        For each image its texts: of ``beam`` in the search's order, of ``nucleus`` the likeliest first.

    Raises:
        InputError: ``greedy`` is asked for more than one.
    """
    check_count(n, sampling)
    beams = max(sampling.beams, n) if sampling.name == "beam" else 1
    start = inputs["input_ids"].shape[1] if "input_ids" in inputs else 1
    draws = sampling.name == "nucleus"
    given = {name: _repeated(value, n) if draws else value for name, value in inputs.items()}
    out = model.generate(
        **given,
        do_sample=False,
        num_beams=beams,
        num_return_sequences=1 if draws else n,
        min_new_tokens=sampling.min_tokens - 1 or None,  # the library does not count the end
        max_new_tokens=sampling.max_tokens,
        length_penalty=sampling.length_penalty,
        repetition_penalty=sampling.repetition_penalty,
        logits_processor=LogitsProcessorList([Nucleus(sampling, n, start)] if draws else []),
        eos_token_id=list(ends),
        pad_token_id=pad,
        return_dict_in_generate=True,
        output_logits=True,
    )
    new_RS = out.sequences[:, start:]
    drafts = _drafts(new_RS, out.logits, out.beam_indices if beams > 1 else None, ends)
    each = [drafts[at : at + n] for at in range(0, len(drafts), n)]
    return [sorted(one, key=lambda draft: -draft.log_probability) if draws else one for one in each]


class Nucleus(LogitsProcessor):
    """Draws the next token of each row from the nucleus (Holtzman et al., arXiv 1904.09751), and leaves the
    search no choice but that token.

    The library's own temperature and top-p say what the nucleus is.
    """

    def __init__(self, sampling: Sampling, n: int, start: int) -> None:
        """``n``: rows of one image, one after the other; ``start``: tokens before the first draw."""
        self._start = start
        self._chances_nS = chances(sampling.seed, n, sampling.max_tokens, sampling.images)
        self._warpers = LogitsProcessorList(
            [TemperatureLogitsWarper(sampling.temperature), TopPLogitsWarper(sampling.top_p)]
        )

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """``[R,V]`` scores to the same shape: 0 at what was drawn, minus infinity elsewhere."""
        step = input_ids.shape[1] - self._start
        kept_RV: Tensor = self._warpers(input_ids, scores)  # type: ignore[arg-type]
        sums_RV = kept_RV.double().softmax(dim=1).cumsum(dim=1)
        chances_R = self._chances_nS[:, step].repeat(len(scores) // len(self._chances_nS)).to(sums_RV.device)
        drawn_R1 = torch.searchsorted(sums_RV, (chances_R * sums_RV[:, -1])[:, None], right=True)
        # Scores that are no numbers would give a place beyond the last, which ends the process on a GPU.
        drawn_R1 = drawn_R1.clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, float("-inf")).scatter(1, drawn_R1, 0.0)


def chances(seed: int | None, n: int, steps: int, images: Sequence[int] = ()) -> Tensor:
    """``[n,S]`` fp64 in [0, 1): the random numbers of each draw of an image; None makes new ones.

    ``images``: ``[B·n,S]``, those of each of these, one after the other. A row is of one draw alone: the
    first three of five draws are the three of three.
    """
    first = secrets.randbits(62) if seed is None else seed
    seeds = [_mixed(first, image) for image in images] or [first]
    # Far apart, so that the second draw of one seed is not the first draw of another.
    each = [(one * 1_000_003 + at) % 2**63 for one in seeds for at in range(n)]
    generators = [torch.Generator().manual_seed(one) for one in each]
    return torch.stack([torch.rand(steps, generator=one, dtype=torch.float64) for one in generators])


def _mixed(seed: int, image: int) -> int:
    """A seed for one image: neighbouring seeds and images have nothing in common."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {image}".encode(), digest_size=8).digest())


def _repeated(value: Any, n: int) -> Any:
    """Each row ``n`` times; what an encoder of the library gave, likewise."""
    if isinstance(value, Tensor):
        return value.repeat_interleave(n, dim=0)
    states = value.last_hidden_state.repeat_interleave(n, dim=0)
    return type(value)(last_hidden_state=states)


def _drafts(
    new_RS: Tensor, logits: Sequence[Tensor], beams_RS: Tensor | None, ends: Sequence[int]
) -> list[Draft]:
    """Cuts each row at its end and adds up its tokens' log-probabilities."""
    last = torch.tensor(list(ends), device=new_RS.device)
    rows_R = torch.arange(len(new_RS), device=new_RS.device)
    live_R = torch.ones(len(new_RS), dtype=torch.bool, device=new_RS.device)
    total_R = torch.zeros(len(new_RS), device=new_RS.device)
    length_R = torch.zeros(len(new_RS), dtype=torch.int64, device=new_RS.device)
    for step, logits_XV in enumerate(logits[: new_RS.shape[1]]):
        # Where the row came from in this step of the search; −1 where it had ended.
        at_R = rows_R if beams_RS is None else beams_RS[:, step].clamp(min=0)
        token_R = new_RS[:, step]
        said_RV = logits_XV[at_R].float().log_softmax(dim=1)
        total_R += torch.where(live_R, said_RV.gather(1, token_R[:, None])[:, 0], 0.0)
        live_R &= ~torch.isin(token_R, last)
        length_R += live_R
    rows = zip(new_RS.tolist(), length_R.tolist(), total_R.tolist(), strict=True)
    return [Draft(row[:length], total) for row, length, total in rows]
