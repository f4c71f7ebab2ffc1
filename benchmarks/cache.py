"""The patch cache: fidelity of the order against its size, from 2× to 32× below fp16.

``python -m benchmarks.cache [--model DIR]`` prints the curve for the demo model. Judged are pictures of the
test split, each sentence over its 100 best by ITC, against scoring the uncompressed patches in fp32; the
codecs are fitted to other pictures, of the val split.
Shapes: N pictures · T sentences · P patches · V vision width · K candidates.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measuring import Budget, Row, Section
from benchmarks.quality import encode, itc_scores, progress
from demo.world.benchmark import held_out, texts
from demo.world.splits import families
from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO
from sightline.blip.latents import Latents
from sightline.blip.patch_codec import PatchCodec, fit, quantise
from sightline.blip.patch_size import default_rank, image_bytes
from sightline.blip.random_weights import full_config
from sightline.reranker.fidelity import Fidelity, FidelityMeter

SEED = 3
CANDIDATES = 100
RATIOS = (4, 8, 11, 16, 32)
_RESERVE_S = 10.0
"""What is kept for the plot."""
PLOT = Path("build/cache-fidelity.png")

Compress = Callable[[Tensor], Tensor | Latents]


@dataclass(frozen=True)
class Level:
    """One way to keep patches ``[K,P,V]``."""

    name: str
    family: str
    patch_bytes: float
    """Of one patch."""
    compress: Compress


@dataclass(frozen=True)
class Measured:
    """What a level did to the orders of all queries. ``r1_loss``: R@1 uncompressed minus R@1 with it."""

    level: Level
    ratio: float
    fidelity: Fidelity
    r1_loss: float


@dataclass(frozen=True)
class Judged:
    """The judged pictures and sentences: patches ``[N,P,V]``, texts T, ITC ``[T,N]``, relevance ``[T,N]``."""

    patches: Tensor
    words: Sequence[str]
    itc: NDArray[np.float32]
    relevant: NDArray[np.bool_]


def run(full: bool) -> Section:
    """The curve for the demo model: 200 sentences over 200 pictures, or a few."""
    return measure(load(DEMO, device="cpu"), 25 if full else 2, 125 if full else 4, PLOT)


def measure(model: Blip2, judged_families: int, fit_families: int, plot: Path) -> Section:
    """Families are of eight pictures each, with as many sentences."""
    sample = encode(model, [s for f in islice(families("val", SEED), fit_families) for s in f])[0]
    judged = judged_pictures(model, judged_families)
    measured = _curve(model, judged, _levels(model, sample))
    chosen = fit(lambda: [sample], model.patch_metric(), model.fingerprint)
    section = Section("Patch cache: fidelity against size")
    section.figures |= _figures(measured, _name(chosen, chosen.image_bytes(model.patch_shape[0])))
    section.rows = [_row(one) for one in measured]
    section.notes = [
        f"{measured[0].fidelity.queries} sentences, the {min(CANDIDATES, len(judged.patches))} best by ITC "
        f"of {len(judged.patches)} pictures each, match logit + ITC, against uncompressed fp32; codecs "
        f"fitted to {len(sample)} other pictures. Patches {list(model.patch_shape)}.",
    ]
    _plot(measured, plot)
    section.plots = [plot]
    return section


def judged_pictures(model: Blip2, n_families: int, seed: int = SEED, split: str = "test") -> Judged:
    """Pictures and sentences of a split."""
    scenes, sentences, relevant = held_out(seed, n_families, split)
    words = texts(sentences, seed)
    patches, tokens = encode(model, scenes)
    return Judged(patches.float(), words, itc_scores(model, tokens, words), relevant)


def _levels(model: Blip2, sample: Tensor) -> list[Level]:
    """fp16, int8, and latents of every size: in the cross-attention's metric, and one by plain PCA."""
    count, width = model.patch_shape
    levels = [Level("int8", "int8", width + 2.0, lambda patches: quantise(patches, None))]
    default = default_rank(width)
    sizes = sorted({max(2 * width // ratio - 2, 1) for ratio in RATIOS} | {default}, reverse=True)
    seen, plain = model.patch_metric(), torch.eye(width, dtype=torch.float64)
    wanted: list[tuple[str, Tensor, list[int | None], bool]] = [
        ("plain PCA", plain, [default], False),
        ("latent", seen, [default, None], False),
        ("latent, grid", seen, [*sizes, None], True),
    ]
    for family, metric, ranks, grid in wanted:
        for rank in ranks:
            codec = fit(lambda: [sample], metric, model.fingerprint, rank, grid)
            each = codec.image_bytes(count)
            name = _name(codec, each) if metric is seen else f"plain PCA, rank {rank}"
            if name not in {level.name for level in levels}:
                levels.append(Level(name, family, each / count, codec.encode))
    return levels


def _curve(model: Blip2, judged: Judged, levels: Sequence[Level]) -> list[Measured]:
    meters = [FidelityMeter() for _ in levels]
    kept = [level.compress(judged.patches) for level in levels]
    hits = np.zeros((len(levels) + 1, len(judged.words)), np.bool_)
    done = 0
    for query in progress(range(len(judged.words)), "scoring"):
        if done and not Budget.given().enough_for(_RESERVE_S):
            break  # the orders so far are a sample as well
        done += 1
        itc = judged.itc[query]
        rows = np.argsort(-itc, kind="stable")[:CANDIDATES]
        exact = _logits(model, judged.words[query], judged.patches, rows)
        hits[-1, query] = _first_is_right(judged, query, rows, exact + itc[rows])
        for at, patches in enumerate(kept):
            found = _logits(model, judged.words[query], patches, rows)
            meters[at].add(exact + itc[rows], found + itc[rows], exact, found)
            hits[at, query] = _first_is_right(judged, query, rows, found + itc[rows])
    recall = hits[:, :done].mean(axis=1)
    whole = 2.0 * model.patch_shape[1]
    return [
        Measured(level, whole / level.patch_bytes, meter.result(), float(recall[-1] - recall[at]))
        for at, (level, meter) in enumerate(zip(levels, meters, strict=True))
    ]


def _logits(
    model: Blip2, sentence: str, patches: Tensor | Latents, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    at = torch.from_numpy(rows.copy())
    if isinstance(patches, Latents):
        chosen: Tensor | Latents = Latents(patches.codes[at], patches.scales[at], patches.basis)
    else:
        chosen = patches[at]
    return model.match([sentence], chosen)[:, 1].numpy()


def _first_is_right(judged: Judged, query: int, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> bool:
    return bool(judged.relevant[query, rows[int(np.argmax(scores))]])


def _figures(measured: Sequence[Measured], default: str) -> dict[str, float]:
    chosen = next(one for one in measured if one.level.name == default)
    vision = full_config().vision_config
    return {
        "cache_bytes_per_image": float(image_bytes("latent", vision.num_patches, vision.hidden_size)),
        "cache_ratio_demo": chosen.ratio,
        "cache_tau": chosen.fidelity.tau,
        "cache_top10": chosen.fidelity.top10,
        "cache_logit_error": chosen.fidelity.logit_error,
        "cache_r1_loss": chosen.r1_loss,
    }


def _name(codec: PatchCodec, image_bytes: int) -> str:
    return f"latent{', grid' if codec.grid is not None else ''}, rank {codec.basis.rank}, {image_bytes} bytes"


def _row(one: Measured) -> Row:
    what = f"{one.level.name}: {one.level.patch_bytes:.0f} bytes a patch, {one.ratio:.1f}× below fp16"
    told = (
        f"τ {one.fidelity.tau:.3f}, top-10 {one.fidelity.top10:.3f}, R@1 loss {one.r1_loss:+.4f}, "
        f"logit ±{one.fidelity.logit_error:.4f}"
    )
    return Row(what, told, goal="τ ≥ 0.95, top-10 ≥ 0.95, R@1 loss ≤ 0.01 at ≥ 11×")


def _plot(measured: Sequence[Measured], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharex=True)
    for family in dict.fromkeys(one.level.family for one in measured):
        points = [one for one in measured if one.level.family == family]
        sizes = [one.ratio for one in points]
        axes[0].plot(sizes, [one.fidelity.tau for one in points], marker="o", label=family)
        axes[1].plot(sizes, [one.fidelity.top10 for one in points], marker="o", label=family)
    for axis, name in zip(axes, ("Kendall τ over 100 candidates", "top-10 overlap"), strict=True):
        axis.axhline(0.95, color="grey", linestyle=":")
        axis.axvline(11, color="grey", linestyle=":")
        axis.set(xscale="log", xlabel="times smaller than fp16", ylabel=name, xticks=[1, 2, 4, 8, 16, 32])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache")
    parser.add_argument("--model", default=DEMO, help="a folder, a hub id, or demo")
    parser.add_argument("--families", type=int, default=25, help="of eight judged pictures each")
    given = parser.parse_args()
    measure(load(given.model, device="cpu"), given.families, 125, PLOT).show()


if __name__ == "__main__":
    main()
