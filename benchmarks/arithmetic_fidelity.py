"""What a faster arithmetic keeps of the order, on the demo model: its weights are real, those of a bench not.

``python -m benchmarks.arithmetic_fidelity [--arithmetic int8] [--families 25]``.
"""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np
import torch

from benchmarks.cache import CANDIDATES as DEMO_CANDIDATES
from benchmarks.cache import SEED, judged_pictures
from benchmarks.measuring import Row, Section
from benchmarks.quality import encode, progress
from demo.world.splits import families as scenes_of
from sightline.blip import int8_linear, load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO
from sightline.blip.latents import Latents
from sightline.blip.packed_linear import has_fast_bf16
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
    judged = judged_pictures(model, families)
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


def arithmetics(device: torch.device) -> list[torch.dtype]:
    """What scores pairs fast on a device, the likely fastest first, and float32."""
    found = [torch.int8] if device.type == "cpu" and int8_linear.available() else []
    return [*found, *([torch.bfloat16] if has_fast_bf16(device) else []), torch.float32]


def add_int8_fidelity(section: Section) -> None:
    """A row and two figures on int8, or a sentence where it is not used."""
    if not int8_linear.available():
        section.notes.append("This machine multiplies int8 no faster than float32: it is not used.")
        return
    found = arithmetic_fidelity("int8", families=25, fit_families=40)
    section.figures |= {"int8_tau": found.tau, "int8_top10": found.top10}
    told = f"τ {found.tau:.3f}, top-10 {found.top10:.3f} ({found.queries} sentences × {DEMO_CANDIDATES})"
    section.rows.append(Row("int8 against fp32, demo model, same latents", told, goal="≥ 0.98"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arithmetic_fidelity")
    parser.add_argument("--arithmetic", default="int8", choices=["int8", "bfloat16"])
    parser.add_argument("--families", type=int, default=25)
    given = parser.parse_args()
    print(arithmetic_fidelity(given.arithmetic, given.families, 40))


if __name__ == "__main__":
    main()
