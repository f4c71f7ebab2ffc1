"""Pictures through the image encoder: ours, stock transformers, and the machine's own matrix product.

``python -m benchmarks.embed`` prints it. Weights are random: speed does not depend on them. The stock encoder
runs as it comes (fp32, on few pictures), and again in our arithmetic. int8 is what the product takes where
its comparison on the checkpoint allows it; what it does to tokens is shown beside.
Shapes: B images · S side · P patches · V width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.measuring import Row, Section, Timing, alternate
from sightline.blip import load
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.config import Blip2Config, VisionConfig
from sightline.blip.int8_linear import weight_top
from sightline.blip.network import Blip2Network
from sightline.blip.packed_linear import has_fast_bf16
from sightline.blip.plain_sentences import PLAIN_SENTENCES
from sightline.blip.precision import vision_dtype
from sightline.blip.protocols import RetrievalModel, embedding
from sightline.blip.random_weights import full_config, small_config
from sightline.blip.vit import VisionModel
from sightline.blip.vit_int8 import Int8Vision, taken_apart
from sightline.blip.vit_packed import PackedVision, can_pack_vision
from sightline.types import RGB

BATCH, STOCK_BATCH = 4, 2
CPU = torch.device("cpu")


def run(full: bool) -> Section:
    """ViT-g (``full``) or a model of toy size."""
    config, side, rounds = (full_config(), 4096, 3) if full else (small_config(), 256, 1)
    section = Section("Embedding: from pixels to patches and query tokens")
    with torch.inference_mode():
        _fill(section, config, side, rounds)
        trained_fidelity(section, 200 if full else 8)
    return section


def _fill(section: Section, config: Blip2Config, side: int, rounds: int) -> None:
    vision = config.vision_config
    dtype = vision_dtype(None, CPU, vision.hidden_size)
    ours, stock, qformer = _ours(vision, dtype), _stock(vision), _qformer(config)
    few, batch = _pixels(vision, STOCK_BATCH), _pixels(vision, BATCH).to(dtype)
    patches = ours(batch).float()
    timed: dict[str, Callable[[], object]] = {
        "product": product(side, dtype),
        "ours": lambda: ours(batch),
        "stock": lambda: stock(pixel_values=few),
        "qformer": lambda: qformer.image_tokens(patches),
    }
    if weight_top() is None:
        section.notes.append("this processor multiplies no int8: that arithmetic is left out")
    else:
        int8 = _int8(vision)
        section.figures["embed_int8_cosine"] = _cosine(qformer, patches, int8(batch.float()))
        timed["int8"] = lambda: int8(batch.float())
    found = alternate(timed, rounds)
    del timed
    stock.to(dtype)
    same = alternate(
        {
            "product": product(side, dtype),
            "ours": lambda: ours(batch),
            "stock": lambda: stock(pixel_values=batch),
        },
        rounds,
    )
    _report(section, vision, side, dtype, found, same)


def _report(
    section: Section,
    vision: VisionConfig,
    side: int,
    dtype: torch.dtype,
    found: dict[str, Timing],
    same: dict[str, Timing],
) -> None:
    """Figures and rows; a picture's time is a batch's divided by its size."""
    _report_int8(section, found)
    peak, work = 2 * side**3 / found["product"].median, operations(vision)
    ours, theirs = found["ours"].median / BATCH, found["stock"].median / STOCK_BATCH
    theirs_same = same["stock"].median / BATCH
    tokens = found["qformer"].median / BATCH
    share, ratio, ratio_same = work / ours / peak, theirs / ours, theirs_same * BATCH / same["ours"].median
    section.figures |= {
        "embed_vs_peak": share,
        "embed_vs_stock": max(ratio, section.figures.get("embed_int8_vs_stock", 0.0)),
        "embed_reference_vs_stock": ratio,
        "embed_vs_stock_same_precision": ratio_same,
        "embed_image_s": ours + tokens,
        "embed_vit_image_s": ours,
        "matrix_peak_gflops": peak / 1e9,
    }
    kind = str(dtype).removeprefix("torch.")
    section.rows += [
        Row(
            f"one picture through the ViT, batch {BATCH}, {kind}; stock in fp32, batch {STOCK_BATCH}",
            f"{ours:.3g} s",
            f"{theirs:.3g} s",
            f"{ratio:.1f}×",
        ),
        Row(
            f"the same, both in {kind}, batch {BATCH}",
            f"{same['ours'].median / BATCH:.3g} s",
            f"{theirs_same:.3g} s",
            f"{ratio_same:.2f}×",
        ),
        Row(
            f"share of the matrix peak ({side}³ {kind}, {peak / 1e9:.0f} GFLOP/s)",
            f"{share:.0%}",
            f"{work / theirs_same * same['product'].median / (2 * side**3):.0%}",
            "",
            "≥ 85 %",
        ),
        Row(f"query tokens of one picture from its patches, fp32, batch {BATCH}", f"{tokens:.3g} s"),
    ]
    section.notes += [f"{name}: {timing}" for name, timing in found.items()]
    section.notes += [f"{name}, same precision: {timing}" for name, timing in same.items()]


def _report_int8(section: Section, found: dict[str, Timing]) -> None:
    """What the product takes by itself on such a machine, where a comparison on the checkpoint allows it."""
    if "int8" not in found:
        return
    ours, theirs = found["int8"].median / BATCH, found["stock"].median / STOCK_BATCH
    section.figures |= {"embed_int8_vs_stock": theirs / ours, "embed_int8_vit_image_s": ours}
    what = f"one picture through the ViT, batch {BATCH}, products in int8; stock in fp32, batch {STOCK_BATCH}"
    goal = "≥ 3×" if has_fast_bf16(CPU) else "≥ 1.8×"
    section.rows.append(Row(what, f"{ours:.3g} s", f"{theirs:.3g} s", f"{theirs / ours:.1f}×", goal))
    least = section.figures["embed_int8_cosine"]
    section.rows.append(Row("query tokens in int8, random weights: least cosine of a token", f"{least:.4f}"))


def _cosine(network: Blip2Network, exact_BPV: Tensor, found_BPV: Tensor) -> float:
    """The least cosine of any query token, patches through the fp32 Q-Former."""
    exact, found = (network.image_tokens(patches) for patches in (exact_BPV, found_BPV))
    return float((exact * found).sum(-1).min())


def trained_fidelity(section: Section, count: int) -> None:
    """Demo model, ``count`` pictures of its collection: what int8 does to tokens and to max-sim."""
    if weight_top() is None:
        return
    models = [load("demo", device="cpu", dtype=kind) for kind in ("float32", "int8")]
    folder = DEMO_FOLDER.parent / "demo-collection" / "images"
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())[:count]]
    exact, found = (_tokens(embedding(model, "demo"), pictures) for model in models)
    texts_TD = embedding(models[0], "demo").encode_text(PLAIN_SENTENCES)
    scores = [torch.einsum("nqd,td->tnq", tokens, texts_TD).amax(-1) for tokens in (exact, found)]
    cosines = (exact * found).sum(-1)
    figures = {
        "embed_int8_demo_cosine": float(cosines.mean(-1).min()),
        "embed_int8_demo_cosine_mean": float(cosines.mean()),
        "embed_int8_demo_max_sim": float((scores[0] - scores[1]).abs().max()),
    }
    section.figures |= figures
    said = ", ".join(f"{value:.4f}" for value in figures.values())
    what = f"int8, demo model, {count} pictures: cosine of the worst one, of all, largest change of max-sim"
    section.rows.append(Row(what, said, goal="≥ 0.995, else int8 is not taken"))


def _tokens(model: RetrievalModel, pictures: Sequence[RGB]) -> Tensor:
    return model.encode_image(model.encode_patches(model.preprocess(pictures)))


def operations(config: VisionConfig) -> float:
    """Floating-point operations of one picture: two for each multiply-add of the products, nothing else."""
    length, width, inner = config.num_patches, config.hidden_size, config.intermediate_size
    layer = 2 * length * (4 * width * width + 2 * width * inner) + 4 * length * length * width
    return config.num_hidden_layers * layer + 2 * (length - 1) * 3 * config.patch_size**2 * width


def product(side: int, dtype: torch.dtype) -> Callable[[], Tensor]:
    """The yardstick: one square product into memory that is there already."""
    left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def _ours(config: VisionConfig, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    with torch.device("meta"):
        model = VisionModel(config)
    _draw(model, dtype)
    return PackedVision(model) if can_pack_vision(model) else model


def _int8(config: VisionConfig) -> Int8Vision:
    with torch.device("meta"):
        model = VisionModel(config)
    _draw(model, torch.bfloat16)  # each layer becomes fp32 for the moment in which it is quantised
    model.embeddings.float()
    model.post_layernorm.float()
    return Int8Vision(model, taken_apart(model))


def _stock(config: VisionConfig) -> Any:
    from transformers import Blip2VisionConfig, Blip2VisionModel

    with torch.device("meta"):
        model = Blip2VisionModel(Blip2VisionConfig(**asdict(config)))
    _draw(model, torch.float32)
    return model


def _qformer(config: Blip2Config) -> Blip2Network:
    with torch.device("meta"):
        network = Blip2Network(config, with_vision=False)
    _draw(network, torch.float32)
    return network


def _draw(module: nn.Module, dtype: torch.dtype) -> None:
    """Small random weights from one drawn block: drawing a billion numbers takes longer than the rest."""
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02
    module.to(dtype).to_empty(device=CPU)
    for name, parameter in module.named_parameters():
        count = parameter.numel()
        parameter.view(-1).copy_(noise.repeat(-(-count // len(noise)))[:count])
        if "norm" in name.lower() and name.endswith("weight"):
            parameter.fill_(1.0)  # else what comes out hardly depends on the picture
    module.eval().requires_grad_(False)


def _pixels(config: VisionConfig, count: int) -> Tensor:
    return torch.randn(count, 3, config.image_size, config.image_size)


def main() -> None:
    """Print the section alone."""
    section = run(full=True)
    print(section.title)
    for row in section.rows:
        print(f"  {row.what}: {row.ours} | {row.theirs} | {row.ratio} (goal {row.goal or '-'})")
    print("\n".join(f"  {note}" for note in section.notes))
    print(section.figures)


if __name__ == "__main__":
    main()
