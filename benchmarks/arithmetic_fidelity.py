"""What a faster arithmetic keeps of the order, on the demo model: its weights are real, those of a bench not.

``python -m benchmarks.arithmetic_fidelity [--arithmetic int8] [--families 25]``.
"""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np
import torch

from benchmarks.cache import CANDIDATES as DEMO_CANDIDATES
from benchmarks.cache import SEED, judged_of
from benchmarks.quality import encode, progress
from demo.world.splits import families as scenes_of
from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO
from sightline.blip.latents import Latents
from sightline.blip.patch_codec import fit
from sightline.reranker.fidelity import Fidelity, FidelityMeter


@torch.inference_mode()
def arithmetic_fidelity(arithmetic: str, families: int, fit_families: int) -> Fidelity:
    """Order by match logit + ITC in an arithmetic against float32, from the same latents.

    ``families``: of eight judged pictures each, with as many sentences; ``fit_families``: others, that the
    latents are fitted to.
    """
    model = load(DEMO, device="cpu")
    assert isinstance(model, Blip2)
    judged = judged_of(model, families)
    others = [scene for family in islice(scenes_of("val", SEED), fit_families) for scene in family]
    sample = encode(model, others)[0]
    codec = fit(lambda: [sample], model.patch_metric(), model.fingerprint)
    kept, trial = codec.encode(judged.patches), model.trial(arithmetic)
    meter = FidelityMeter()
    for query in progress(range(len(judged.words)), "scoring"):
        itc = judged.itc[query]
        rows = np.argsort(-itc, kind="stable")[:DEMO_CANDIDATES]
        at = torch.from_numpy(rows.copy())
        patches = Latents(kept.codes[at], kept.scales[at], kept.basis)
        exact, found = (one.match([judged.words[query]], patches)[:, 1].numpy() for one in (model, trial))
        meter.add(exact + itc[rows], found + itc[rows], exact, found)
    return meter.result()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arithmetic_fidelity")
    parser.add_argument("--arithmetic", default="int8", choices=["int8", "bfloat16"])
    parser.add_argument("--families", type=int, default=25)
    given = parser.parse_args()
    print(arithmetic_fidelity(given.arithmetic, given.families, 40))


if __name__ == "__main__":
    main()
