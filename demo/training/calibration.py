"""``python -m demo.training.calibration [--model DIR]``: writes the demo model's ``calibration.json`` anew.

Everything comes from the val split and from words that are not measured by: the temperature and the bias
from sentences of the world, true and untrue; the bounds of unknown words halfway between the words of the
world and those that it lacks; and what an unknown word takes from the log-odds from sentences with one.
Shapes: N pictures · K candidates · T queries.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from demo.world.benchmark import absent, held_out, relevance_of, texts
from demo.world.draw import draw
from demo.world.foreign import lacking, with_lacking_words, world_words
from demo.world.scene import Scene
from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.calibration import Calibration
from sightline.blip.checkpoint import DEMO, resolve
from sightline.blip.checkpoint_words import CALIBRATION
from sightline.blip.function_words import FUNCTION_WORDS
from sightline.blip.known_words import UnlikeNonsense
from sightline.reranker.calibration_fit import Pairs, calibration_error, fit, probabilities

Kind = Literal["held out", "present", "absent", "lacking", "nonsense"]
IN_WORLD: Final[tuple[Kind, ...]] = ("held out", "present", "absent")
CANDIDATES: Final = 32
MISSED: Final = 0.01
"""Share of unknown words that their likeness to nonsense may not show."""
SIDE: Final = 384
LOWEST: Final = -500.0
"""A logit difference whose probability is 0 in any calibration."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries, with their best candidates by ITC."""

    texts: list[str]
    kinds: NDArray[np.str_]
    """``[T]``."""
    differences: NDArray[np.float64]
    """``[T,K]``: logit 1 − logit 0."""
    truth: NDArray[np.bool_]
    """``[T,K]``."""

    def pairs(self, chosen: NDArray[np.bool_]) -> Pairs:
        """All pairs of some queries ``[T]``."""
        queries = np.repeat(np.flatnonzero(chosen), self.truth.shape[1])
        return Pairs(self.differences[chosen].ravel(), self.truth[chosen].ravel(), queries)


def ask(
    model: Blip2,
    scenes: Sequence[Scene],
    queries: Sequence[tuple[Kind, str, NDArray[np.bool_]]],
    is_ranked: Callable[[str], bool] = lambda text: True,
) -> Asked:
    """``queries``: kind, text, and of which of the N scenes it is true. Texts that are not ranked are not
    judged: their differences are as low as can be."""
    patches, tokens = [], []
    for start in range(0, len(scenes), 32):
        pixels = model.preprocess([draw(one, SIDE, supersample=2) for one in scenes[start : start + 32]])
        patches.append(model.encode_patches(pixels))
        tokens.append(model.encode_image(patches[-1]))
    every_NPV, tokens_NQD = torch.cat(patches), torch.cat(tokens)
    differences, truth = np.full((len(queries), CANDIDATES), LOWEST), []
    for row, (_, text, true_N) in enumerate(queries):
        itc_N = (tokens_NQD @ model.encode_text([text])[0]).amax(dim=1)
        best_K = itc_N.argsort(descending=True, stable=True)[:CANDIDATES]
        truth.append(true_N[best_K.numpy()])
        if is_ranked(text):
            logits_K2 = model.match([text], every_NPV[best_K]).double().numpy()
            differences[row] = logits_K2[:, 1] - logits_K2[:, 0]
    kinds = np.array([kind for kind, _, _ in queries])
    return Asked([text for _, text, _ in queries], kinds, differences, np.array(truth))


def queries_of_world(
    seed: int, families: int, split: str, each: int
) -> tuple[list[Scene], list[tuple[Kind, str, NDArray[np.bool_]]]]:
    """Scenes of a split, and so many queries of each kind that the world has pictures of, or just not."""
    scenes, sentences, relevant = held_out(seed, families, split)
    rows = Random(f"calibration {seed}").sample(range(len(sentences)), each)
    words = texts([sentences[row] for row in rows], seed)
    queries: list[tuple[Kind, str, NDArray[np.bool_]]] = [
        ("held out", text, relevant[row]) for row, text in zip(rows, words, strict=True)
    ]
    missing, present = absent(seed, each, families, split)
    for kind, some in (("present", present), ("absent", missing)):
        told = zip(texts(some, seed + 1), relevance_of(scenes, some), strict=True)
        queries += [(cast("Kind", kind), text, true) for text, true in told]
    return scenes, queries


def learned_bounds(model: Blip2) -> dict[str, float]:
    """Halfway between the words of the world and those that it lacks, by each sign.

    Raises:
        SystemExit: a sign does not tell them apart, and no bound would.
    """
    known, unknown = sorted(world_words() - FUNCTION_WORDS), lacking("fit")
    rows = model.network.word_embedding.weight.norm(dim=1)
    likeness = UnlikeNonsense(model.encode_text, 1.0).likeness

    def shortest(word: str) -> float:
        return min(float(rows[one]) for part in model.tokenizer.words(word) for one in part.ids)

    norms = min(map(shortest, known)), max(map(shortest, unknown))
    # A "starfish" that is spelled star + fish is like a star to a model that knows no other.
    likenesses = float(np.quantile([*map(likeness, unknown)], MISSED)), max(map(likeness, known))
    for high, low in (norms, likenesses):
        if high <= low:
            raise SystemExit("The words of the world are not to be told from others; leave the bounds out.")
    return {"least_norm": round(sum(norms) / 2, 3), "most_like_nonsense": round(sum(likenesses) / 2, 3)}


def unknown_offset(calibration: Calibration, best: NDArray[np.float64]) -> float:
    """What an unknown word takes from the log-odds: of the T queries with one none had a right picture, so
    that the next one has with 1 in T + 2 (Laplace's rule of succession), and this is what the best hit's
    probability is to be on average. ``best``: the best hit's difference, ``[T]``."""
    wanted, low, high = 1 / (len(best) + 2), -50.0, 0.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = np.mean([calibration.shifted(middle).probability(one) for one in best.tolist()])
        low, high = (middle, high) if mean < wanted else (low, middle)
    return low


def made(model: Blip2, seed: int = 7, families: int = 60, each: int = 150) -> dict[str, Any]:
    """The content of the file."""
    bounds = learned_bounds(model)
    scenes, queries = queries_of_world(seed, families, "val", each)
    nothing = np.zeros(len(scenes), dtype=bool)
    queries += [("lacking", text, nothing) for text in with_lacking_words("fit", each)]
    asked = ask(model, scenes, queries)
    pairs = asked.pairs(np.isin(asked.kinds, IN_WORLD))
    plain, fitted = Calibration(), fit(pairs, isotonic_from=None)
    best = asked.differences[asked.kinds == "lacking"].max(axis=1)
    fitted = replace(
        fitted,
        temperature=round(fitted.temperature, 4),
        bias=round(fitted.bias, 4),
        unknown=round(unknown_offset(fitted, best), 4),
    )
    return {
        "calibration": {
            "kind": fitted.kind, "temperature": fitted.temperature, "bias": fitted.bias,
            "unknown": fitted.unknown,
        },
        "known_words": bounds,
        "fitted": {
            "by": "python -m demo.training.calibration",
            "pairs": len(pairs.truth),
            "queries": len(queries),
            "ece_before": round(calibration_error(probabilities(plain, pairs), pairs.truth), 4),
            "ece_after": round(calibration_error(probabilities(fitted, pairs), pairs.truth), 4),
        },
    }  # fmt: skip


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(prog="python -m demo.training.calibration")
    parser.add_argument("--model", default=DEMO, help="a folder, or demo")
    name = parser.parse_args().model
    content = json.dumps(made(cast("Blip2", load(name, device="cpu"))), indent=2)
    path = Path(resolve(name)) / CALIBRATION
    path.write_text(content + "\n")
    sys.stdout.write(f"{path}\n{content}\n")


if __name__ == "__main__":
    main()
