"""Words from a language model: transformers' own search, draws that can be repeated, probabilities told.

Shapes: B images · N texts an image · R rows · T new tokens · W vocabulary · F, W' features of one image.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.blip.sampling import Sampling
from sightline.errors import InputError

_SEED_BITS = 62
_SKETCH_BITS = 24
_MIXING = 0x9E3779B97F4A7C15
"""Odd, so that no two seeds below 2^62 become one (Knuth, The Art of Computer Programming, 6.4)."""


@dataclass(frozen=True)
class Generated:
    """One text: its new tokens without the end, and the sum of their log-probabilities, the end included.

    In nats, by the model itself: before temperature, nucleus, penalties and forbidden ends.
    """

    ids: tuple[int, ...]
    log_probability: float


@dataclass(frozen=True)
class Ends:
    """Which tokens end a text, and what stands after the end; ``before`` counts the tokens of the answer of
    ``generate`` that are no new ones: the prompt's ids, a decoder's start, none after embeddings alone."""

    ids: tuple[int, ...]
    pad: int
    before: int = 0


@torch.inference_mode()
def generate(
    model: Any,
    inputs: Mapping[str, Tensor],
    ends: Ends,
    sampling: Sampling,
    count: int = 1,
    seeds: Sequence[int] = (),
) -> list[list[Generated]]:
    """``count`` texts for each row of the inputs.

    A beam search gives its best first, by its own measure (the length penalty's); draws come likeliest first.

    Args:
        model: of transformers, with ``generate``.
        inputs: tensors by the names of ``generate``, the same number of rows B in each.
        seeds: one for each row (`image_seeds`), for ``nucleus``.

    Raises:
        InputError: less than one text, or several by ``greedy``.
    """
    check_count(count, sampling)
    drawn = sampling.name == "nucleus"
    if drawn:
        inputs = {name: value.repeat_interleave(count, dim=0) for name, value in inputs.items()}
    out = model.generate(
        **inputs,
        generation_config=_settings(ends, sampling, 1 if drawn else count),
        logits_processor=[_Draw(sampling, [seed + at for seed in seeds for at in range(count)])]
        if drawn
        else None,
    )
    new_RT = out.sequences[:, ends.before :]
    beams = out.beam_indices if sampling.name == "beam" and sampling_beams(sampling, count) > 1 else None
    found = _generated(new_RT, out.logits, beams, ends)
    grouped = [found[at : at + count] for at in range(0, len(found), count)]
    if drawn:
        return [sorted(group, key=lambda one: -one.log_probability) for group in grouped]
    return grouped


def check_count(count: int, sampling: Sampling) -> None:
    """Whether so many texts can be made in this way.

    Raises:
        InputError: they cannot.
    """
    if count < 1:
        raise InputError(f"{count} texts an image were asked for; ask for 1 or more.")
    if count > 1 and sampling.name == "greedy":
        raise InputError("Greedy sampling gives one text an image; take beam or nucleus for more.")


def sampling_beams(sampling: Sampling, count: int) -> int:
    """Beams of a search for ``count`` texts: at least so many."""
    return max(sampling.beams, count) if sampling.name == "beam" else 1


def _settings(ends: Ends, sampling: Sampling, returned: int) -> Any:
    """transformers' form of the settings; what is drawn is drawn by `_Draw`."""
    from transformers import GenerationConfig

    return GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        # Theirs counts the tokens before the end, ours the end as well.
        min_new_tokens=sampling.min_tokens - 1 if sampling.min_tokens > 1 else None,
        num_beams=sampling_beams(sampling, returned),
        num_return_sequences=returned,
        length_penalty=sampling.length_penalty,
        repetition_penalty=sampling.repetition_penalty,
        do_sample=False,
        eos_token_id=list(ends.ids),
        pad_token_id=ends.pad,
        return_dict_in_generate=True,
        output_logits=True,
    )


class _Draw:
    """Makes the likeliest token a drawn one: temperature, nucleus, then Gumbel noise.

    The largest of log-probabilities with Gumbel noise is a draw from them (Gumbel-max). Each row has a
    generator of its own, so that a text does not depend on which others are drawn with it;
    ``torch.multinomial`` knows one generator for a whole batch.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

        self._warpers = LogitsProcessorList()
        if sampling.temperature != 1.0:
            self._warpers.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(float(sampling.top_p)))
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        kept_RW: Tensor = self._warpers(input_ids, scores)
        waits_RW = torch.empty(kept_RW.shape, dtype=torch.float32)
        for row_W, generator in zip(waits_RW, self._generators, strict=True):
            row_W.exponential_(generator=generator)  # −log of an exponential wait is a Gumbel
        return kept_RW - waits_RW.to(kept_RW.device).log()


def _generated(
    new_RT: Tensor, logits: Sequence[Tensor], beams_RT: Tensor | None, ends: Ends
) -> list[Generated]:
    """Ids up to the end, and the sums of log-probabilities by the raw ``logits``, one ``[·,W]`` a step."""
    rows, steps = new_RT.shape
    lengths = [_length(row, ends) for row in new_RT.tolist()]
    sums_R = torch.zeros(rows, dtype=torch.float64, device=new_RT.device)
    for step in range(steps):
        held = [row for row, length in enumerate(lengths) if length > step]
        if not held:
            break
        at = torch.tensor(held, device=new_RT.device)
        source = at if beams_RT is None else beams_RT[at, step]
        log_probabilities = F.log_softmax(logits[step][source].float(), dim=-1)
        sums_R[at] += log_probabilities.gather(1, new_RT[at, step : step + 1])[:, 0].double()
    return [
        Generated(tuple(one for one in row[:length] if one not in ends.ids), total)
        for row, length, total in zip(new_RT.tolist(), lengths, sums_R.tolist(), strict=True)
    ]


def _length(row: Sequence[int], ends: Ends) -> int:
    """Tokens up to the first end, which counts; all of them where there is none."""
    return next((at + 1 for at, one in enumerate(row) if one in ends.ids), len(row))


def summed_log_probabilities(logits_RTW: Tensor, labels_RT: Tensor, valid_RT: Tensor) -> Tensor:
    """``[R]`` fp32: log-probability of the labels where valid, by logits of the same places."""
    log_probabilities = F.log_softmax(logits_RTW.float(), dim=-1)
    found_RT = log_probabilities.gather(2, labels_RT[:, :, None])[:, :, 0]
    return found_RT.masked_fill(valid_RT == 0, 0.0).sum(dim=1)


def image_seeds(features_BFW: Tensor, seed: int | None) -> list[int]:
    """A seed for each image: the same for an image in whatever batch, another for another image.

    One seed for all would give every image of a collection the same noise, and with it the same turn of
    phrase. The mean feature, projected and counted in whole units, tells images apart and, unlike a digest of
    the numbers, is not changed by their last digit. ``None``: a new seed each time.
    """
    if seed is None:
        return [secrets.randbits(_SEED_BITS) for _ in range(len(features_BFW))]
    width = features_BFW.shape[2]
    directions = torch.randn(width, _SKETCH_BITS, generator=torch.Generator().manual_seed(0))
    means_BW = F.layer_norm(features_BFW.float().mean(dim=1).cpu(), (width,))
    odd = (means_BW @ directions).floor() % 2 == 1
    sketches = [sum(1 << at for at, one in enumerate(row) if one) for row in odd.tolist()]
    return [(seed * _MIXING + (sketch << 16)) % (1 << _SEED_BITS) for sketch in sketches]
