"""Why images match a text: what the model looked at, and what each word was good for.

A word's contribution is what the match probability loses when the text is judged without it. Both
probabilities are made by `match_scores`, as those of a search are, from logits in float32, and each is
calibrated as a search for its own text would have it: without a word that the model does not know, the rest
is judged as any known text.
Shapes: K images · Q query tokens · D joint dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from sightline.blip.calibration import PLAIN, Calibration
from sightline.blip.text_words import TextWord, without
from sightline.explanations import MAX_WORDS, ExplainedWord, Explanation, Heat
from sightline.reranker.judging import checked_text, match_scores

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.heat_maps import HeatMaps
    from sightline.blip.latents import Latents
    from sightline.records import Precision

DIGITS = 3
"""Of a heat's values: a picture shows 256 shades at most."""


class Explaining(Protocol):
    """What of an Explainer is needed (`sightline.blip.protocols.Explainer`)."""

    def words(self, text: str) -> tuple[TextWord, ...]: ...

    def heat_maps(self, text: str, patches: Tensor | Latents) -> HeatMaps: ...

    def match(
        self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast"
    ) -> Tensor: ...


class TextEncoder(Protocol):
    """Gives a text's vector (`sightline.blip.protocols.Encoder`)."""

    def encode_text(self, texts: Sequence[str]) -> Tensor: ...


def plain(text: str) -> Calibration:
    """The softmax as it is, for any text."""
    return PLAIN


def explain(
    explainer: Explaining,
    encoder: TextEncoder,
    text: str,
    patches: Tensor | Latents,
    tokens_KQD: Tensor,
    calibration_of: Callable[[str], Calibration] = plain,
) -> list[Explanation]:
    """One explanation for each of K ≥ 1 images, in their order.

    Args:
        explainer: judges, and says where a match came from.
        encoder: embeds the text.
        text: what the pictures should show; its first `MAX_WORDS` words are explained.
        patches: ``[K,P,V]``, or as the cache keeps them.
        tokens_KQD: the images' query tokens, unit rows.
        calibration_of: of match probabilities, for a text.

    Raises:
        InputError: the text is empty.
        UnavailableError: the model gives no numbers.
    """
    maps = explainer.heat_maps(checked_text(text), patches)
    scores = match_scores(maps.logits, calibration_of(text))
    words = maps.words[:MAX_WORDS]
    lacking = [
        _probabilities(explainer, without(text, word.start, word.end), patches, calibration_of)
        for word in words
    ]
    vector_D = encoder.encode_text([text])[0].double().cpu()
    itc_KQ = tokens_KQD.double().cpu() @ vector_D
    return [
        Explanation(
            query_token=int(itc_KQ[row].argmax()),
            itc=float(itc_KQ[row].max()),
            no_match_logit=float(maps.logits[row, 0]),
            match_logit=scored.logit,
            match_probability=scored.probability,
            words=tuple(
                _word(text, word, scored.probability, left[row], heat_of(maps.by_word[row, at]))
                for at, (word, left) in enumerate(zip(words, lacking, strict=True))
            ),
            heat=heat_of(maps.whole[row]),
        )
        for row, scored in enumerate(scores)
    ]


def _probabilities(
    explainer: Explaining, text: str, patches: Tensor | Latents, calibration_of: Callable[[str], Calibration]
) -> Sequence[float | None]:
    """Match probabilities of K images; None for a text that has no word."""
    if not explainer.words(text):
        return [None] * len(patches)
    scored = match_scores(explainer.match([text], patches, "exact"), calibration_of(text))
    return [one.probability for one in scored]


def _word(text: str, word: TextWord, probability: float, left: float | None, heat: Heat) -> ExplainedWord:
    drop = None if left is None else probability - left
    return ExplainedWord(text[word.start : word.end], word.start, word.end, left, drop, heat)


def heat_of(map_YX: Tensor) -> Heat:
    """A map with its largest value made 1."""
    top = float(map_YX.max())
    values_YX = (map_YX / top if top > 0 else map_YX).double().cpu()
    rows = tuple(tuple(round(one, DIGITS) for one in row) for row in values_YX.tolist())
    return Heat(len(rows[0]), len(rows), rows)
