"""What the demo model knows, measured on pictures and sentences that training never saw.

``python -m benchmarks.quality [--model DIR]`` prints the figures and writes ``build/quality.json``. Relevance
comes from the scenes: every picture that satisfies a sentence is relevant.
Shapes: N pictures · T sentences · Q query tokens · D joint dim · K candidates.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.asking_quality import ASKING_GOALS, asking_figures
from benchmarks.capfilt_quality import CAPFILT_GOALS, capfilt_figures
from benchmarks.compound_quality import COMPOUND_GOALS, compound_figures
from benchmarks.counting_quality import COUNTING_GOALS, counting_figures
from benchmarks.dups_quality import DUPS_GOALS, dup_figures, photo_folder
from benchmarks.honest_quality import HONEST_GOALS, honest_figures
from benchmarks.why_quality import WHY_GOALS, why_figures
from demo.world.benchmark import HOWS, absent, held_out, swap_groups, texts
from demo.world.draw import draw
from demo.world.scene import Scene
from demo.world.sentences import plural
from demo.world.things import COLOURS, KINDS
from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO
from sightline.blip.protocols import Captioner, captioning
from sightline.blip.sampling import Sampling
from sightline.reranker.judging import match_scores

SEED = 1
SIDE = 384
CANDIDATES = 64
GOALS = {
    "itc_r1": (0.60, 0.85),
    "rerank_r1": (0.90, 1.0),
    "swap_colour": (0.92, 1.0),
    "swap_side": (0.92, 1.0),
    "exchange_object": (0.92, 1.0),
    "itg_objects": (0.85, 1.0),
    "absent_auroc": (0.95, 1.0),
    **ASKING_GOALS,
    **CAPFILT_GOALS,
    **COMPOUND_GOALS,
    **COUNTING_GOALS,
    **WHY_GOALS,
    **HONEST_GOALS,
    **DUPS_GOALS,
}
Figures = dict[str, float]
T = TypeVar("T")


def encode(model: Blip2, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Patches ``[N,P,V]`` and tokens ``[N,Q,D]`` of drawn scenes, by the product's own preprocessing."""
    patches = [
        model.encode_patches(
            model.preprocess([draw(scene, SIDE, supersample=2) for scene in scenes[start : start + 32]])
        )
        for start in progress(range(0, len(scenes), 32), "drawing and encoding")
    ]
    every = torch.cat(patches)
    return every, torch.cat([model.encode_image(part) for part in every.split(64)])


def itc_scores(model: Blip2, tokens: Tensor, sentences: Sequence[str]) -> NDArray[np.float32]:
    """Max over Q of token · text: ``[T,N]``."""
    vectors = model.encode_text(sentences)
    return torch.einsum("nqd,td->tnq", tokens, vectors).amax(dim=2).numpy()


def rerank(
    model: Blip2, patches: Tensor, sentence: str, itc: NDArray[np.float32]
) -> tuple[NDArray[np.int64], Tensor]:
    """The best candidates by ITC ``[K]`` and their ITM logits ``[K,2]``."""
    rows = np.argsort(-itc, kind="stable")[:CANDIDATES]
    return rows, model.match([sentence], patches[torch.from_numpy(rows.copy())])


def retrieval(model: Blip2) -> Figures:
    """R@1 of text to image by ITC alone and after ITM + ITC over 64 candidates; R@64 bounds the second."""
    scenes, sentences, relevant = held_out(SEED)
    words = texts(sentences, SEED)
    patches, tokens = encode(model, scenes)
    itc = itc_scores(model, tokens, words)
    first, best, itm_only, within = [], [], [], []
    for row in progress(range(len(words)), "reranking"):
        rows, logits = rerank(model, patches, words[row], itc[row])
        match = logits[:, 1].numpy()
        first.append(relevant[row, rows[0]])
        best.append(relevant[row, rows[int(np.argmax(match + itc[row, rows]))]])
        itm_only.append(relevant[row, rows[int(np.argmax(match))]])
        within.append(relevant[row, rows].any())
    return {
        "itc_r1": float(np.mean(first)),
        "rerank_r1": float(np.mean(best)),
        "itm_r1": float(np.mean(itm_only)),
        "itc_r64": float(np.mean(within)),
        "itg_objects": caption_f1(captioning(model, "measured"), scenes, patches),
        **absent_figures(model, patches, tokens),
    }


def absent_figures(model: Blip2, patches: Tensor, tokens: Tensor) -> Figures:
    """How well the best match probability among 64 candidates tells absent sentences from present ones."""
    missing, present = absent(SEED)
    words = texts([*missing, *present], SEED + 1)
    itc = itc_scores(model, tokens, words)
    best = [
        max(found.raw for found in match_scores(rerank(model, patches, words[row], itc[row])[1]))
        for row in progress(range(len(words)), "absent things")
    ]
    return {"absent_auroc": auroc(np.array(best[len(missing) :]), np.array(best[: len(missing)]))}


def auroc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """The chance that a positive lies above a negative, ties counting half."""
    above = (positive[:, None] > negative[None, :]).mean()
    return float(above + 0.5 * (positive[:, None] == negative[None, :]).mean())


def swaps(model: Blip2) -> Figures:
    """Share of pictures whose true sentence beats the false one, by ITM and by ITC, for each kind of edit."""
    figures: Figures = {}
    for how in HOWS:
        triples = swap_groups(SEED)[how]
        patches, tokens = encode(model, [scene for scene, _, _ in triples])
        true = texts([sentence for _, sentence, _ in triples], SEED + 2)
        false = texts([sentence for _, _, sentence in triples], SEED + 2)
        by_itm = match_logit(model, true, patches) > match_logit(model, false, patches)
        by_itc = own_itc(model, true, tokens) > own_itc(model, false, tokens)
        figures |= {how: float(by_itm.float().mean()), f"itc_{how}": float(by_itc.float().mean())}
    return figures


def match_logit(model: Blip2, sentences: Sequence[str], patches: Tensor) -> Tensor:
    """Averaged match logit of pair i: ``[K]``."""
    starts = range(0, len(sentences), 50)
    return torch.cat([model.match(sentences[i : i + 50], patches[i : i + 50])[:, 1] for i in starts])


def own_itc(model: Blip2, sentences: Sequence[str], tokens: Tensor) -> Tensor:
    """ITC score of pair i: ``[K]``."""
    return torch.einsum("nqd,nd->nq", tokens, model.encode_text(sentences)).amax(dim=1)


def caption_f1(model: Captioner, scenes: Sequence[Scene], patches: Tensor) -> float:
    """F1 of the (kind, colour) pairs that captions name against those of the scenes, over all pictures."""
    greedy = Sampling("greedy", max_tokens=32)
    parts = progress(patches.split(50), "captions")
    captions = [one[0].text for part in parts for one in model.caption(part, 1, greedy)]
    hits = named = shown = 0
    for scene, caption in zip(scenes, captions, strict=True):
        truth, said = {(thing.kind, thing.colour) for thing in scene.things}, looks_in(caption)
        hits, named, shown = hits + len(truth & said), named + len(said), shown + len(truth)
    return 2 * hits / max(named + shown, 1)


def looks_in(caption: str) -> set[tuple[str, str]]:
    """(kind, colour) wherever a colour stands right before a kind."""
    kinds = {form: kind for kind in KINDS for form in (kind, plural(kind))}
    words = caption.replace(",", " ").split()
    pairs = pairwise(words)
    return {(kinds[noun], colour) for colour, noun in pairs if colour in COLOURS and noun in kinds}


def progress(items: Sequence[T], what: str) -> Iterable[T]:
    """A progress bar on a terminal, nothing elsewhere."""
    return track(items, what, console=Console(stderr=True), disable=not sys.stderr.isatty())


def show(figures: Figures) -> None:
    """The figures beside their goals."""
    table = Table("figure", "measured", "goal")
    for name, value in sorted(figures.items(), key=lambda item: (item[0] not in GOALS, item[0])):
        low, high = GOALS.get(name, (None, None))
        goal = "" if low is None else f"{low:.2f} to {high:.2f}" if high != 1.0 else f"≥ {low:.2f}"
        goal = f"≤ {high:.2f}" if low == 0.0 else goal
        table.add_row(name, f"{value:.3f}", goal)
    Console().print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality")
    parser.add_argument("--model", default="demo", help="a folder, a hub id, or demo")
    parser.add_argument("--out", type=Path, default=Path("build/quality.json"))
    given = parser.parse_args()
    began = time.monotonic()
    model = load(given.model, device="cpu")
    parts: list[Callable[[Blip2], Figures]] = [swaps, retrieval, counting_figures, why_figures]
    figures = {name: value for part in parts for name, value in part(model).items()}
    if given.model == DEMO:  # the model that answers is another one of that name
        figures |= asking_figures(DEMO) | capfilt_figures() | compound_figures() | honest_figures(model)
        figures |= dup_figures(photo_folder())
    show(figures)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(
        json.dumps({**figures, "seconds": round(time.monotonic() - began, 1)}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
