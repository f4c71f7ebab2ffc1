"""Whether explanations point at what words name, on pictures that training never saw.

The pointing game (arXiv 1608.00507): a heat map, enlarged bilinearly to the picture, points where it is
largest, and hits when that lies in the box of the thing that is named: the square that the thing is drawn in,
`demo.world.things.WIDTHS` of its size around its centre. Asked are

* whole texts about one thing ("a red car", map of the whole text), two things of each picture,
* words in texts about two ("a red car and a blue house", map of each noun and of each colour word).

Both things are of different kinds and the only ones of their kind and colour in the picture. Beside it the
middle of the picture as a guess. Method and layer were chosen on the split val
(docs/decisions/171-why-is-measured-by-pointing.md), which ``--split val`` repeats.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from demo.world.benchmark import held_out
from demo.world.draw import draw
from demo.world.scene import Scene, Thing
from demo.world.sentences import Phrase, matches, words
from demo.world.things import WIDTHS
from sightline.blip import load
from sightline.blip.protocols import Explainer
from sightline.blip.text_words import TextWord
from sightline.explanations import Heat
from sightline.reranker.explaining import heat_of

SEED = 1
SIDE = 384
PICTURES = 200
WHY_GOALS = {"pointing": (0.8, 1.0)}


@dataclass(frozen=True)
class Pair:
    """A picture with two things that can be named apart."""

    scene: Scene
    things: tuple[Thing, Thing]


def why_figures(model: Explainer, split: str = "test", pictures: int = PICTURES) -> dict[str, float]:
    """Shares of maps that point at the named thing, all together and by what was asked, and the middle's."""
    hits: dict[str, list[bool]] = {"phrase": [], "noun": [], "colour": [], "centre": []}
    for pair in pairs(split, pictures):
        patches = model.encode_patches(model.preprocess([draw(pair.scene, SIDE, supersample=2)]))
        phrases = [words(Phrase(1, thing.colour, thing.kind)) for thing in pair.things]
        together = " and ".join(phrases)
        maps = model.heat_maps(together, patches)
        starts = (0, len(together) - len(phrases[1]))
        for thing, phrase, start in zip(pair.things, phrases, starts, strict=True):
            alone = model.heat_maps(phrase, patches).whole[0]
            hits["phrase"].append(is_in(pointed(heat_of(alone)), thing))
            for name, word in (("noun", thing.kind), ("colour", thing.colour)):
                at = place_of(maps.words, start + phrase.index(word))
                hits[name].append(is_in(pointed(heat_of(maps.by_word[0, at])), thing))
            hits["centre"].append(is_in((0.5, 0.5), thing))
    asked = hits["phrase"] + hits["noun"] + hits["colour"]
    shares = {f"pointing_{name}": share(found) for name, found in hits.items()}
    return {"pointing": share(asked), **shares}


def pairs(split: str, count: int) -> Iterator[Pair]:
    """So many pictures of a split, two things of each."""
    rng = Random(f"pointing {SEED}")
    scenes = held_out(SEED, split=split)[0]
    found = (pair for scene in rng.sample(scenes, len(scenes)) if (pair := pair_of(rng, scene)) is not None)
    for _ in range(count):
        yield next(found)


def pair_of(rng: Random, scene: Scene) -> Pair | None:
    """Two things of different kinds that their kind and colour name apart from all others; None: too few."""
    named = [
        thing
        for thing in scene.things
        if sum(matches(one, Phrase(1, thing.colour, thing.kind)) for one in scene.things) == 1
    ]
    rng.shuffle(named)
    other = next((one for one in named if one.kind != named[0].kind), None)
    return None if other is None else Pair(scene, (named[0], other))


def place_of(said: Sequence[TextWord], start: int) -> int:
    """Which of the words begins at this character."""
    return [word.start for word in said].index(start)


def pointed(heat: Heat) -> tuple[float, float]:
    """Where the heat is largest, (x, y) in shares of the picture, y down."""
    cells_11YX = torch.tensor(heat.values)[None, None]
    enlarged: Tensor = F.interpolate(cells_11YX, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    row, column = divmod(int(enlarged.argmax()), SIDE)
    return (column + 0.5) / SIDE, (row + 0.5) / SIDE


def is_in(point: tuple[float, float], thing: Thing) -> bool:
    """Whether a point lies in the thing's box."""
    half = WIDTHS[thing.size] / 2
    return abs(point[0] - thing.x) <= half and abs(point[1] - thing.y) <= half


def share(hits: Sequence[bool]) -> float:
    """Of those that hit."""
    return sum(hits) / len(hits)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.why_quality")
    parser.add_argument("--model", default="demo", help="a folder, a hub id, or demo")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    given = parser.parse_args()
    model = load(given.model, device="cpu")
    for name, value in why_figures(model, given.split).items():
        print(f"{name:<18} {value:.3f}")


if __name__ == "__main__":
    main()
